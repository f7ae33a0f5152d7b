"""One page, executed by papermill in this process: `python -m gahb_core.pages.execute NAME`.

`gahb run` starts one such process a page, because papermill changes the working folder, which
belongs to a whole process.
"""

import argparse
import ast
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from gahb_core.pages.files import write_atomically
from gahb_core.pages.records import VARIABLE
from gahb_core.pages.spec import Page, Places, fingerprint, load_pages, select_pages


def _make_manager(folder: Path) -> type:
    """Return the class of a kernel manager: this very Python, reached without network ports."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager

    class PageKernelManager(AsyncKernelManager):
        """Starts `sys.executable`, whatever kernel called python3 the user has installed."""

        def __init__(self, **kwargs: Any) -> None:
            # sockets in files: pages that start together cannot take each other's port
            sockets = {} if sys.platform == "win32" else {"transport": "ipc"}
            specs = KernelSpecManager(kernel_dirs=[])  # none but the native one
            name = str(folder / "k.json")  # short: the path of a socket has at most 104 bytes
            super().__init__(
                **{**kwargs, "kernel_spec_manager": specs, "connection_file": name, **sockets}
            )

    return PageKernelManager


def _make_engine(folder: Path) -> type:
    """Return papermill's engine with that kernel, printing each cell as it starts."""
    from papermill.engines import NBClientEngine

    class PageEngine(NBClientEngine):
        """Runs the cells and says which one runs."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
            """Return the executed notebook."""
            started, total = nb_man.cell_start, len(nb_man.nb.cells)

            def cell_start(cell: Any, cell_index: int | None = None, **more: Any) -> None:
                print(f"cell {cell_index + 1}/{total}", flush=True)
                started(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            manager = _make_manager(folder)
            return super().execute_managed_notebook(
                nb_man, kernel_name, kernel_manager_class=manager, **kwargs
            )

    return PageEngine


def _set_environment(folder: Path, results: Path) -> None:
    """Set what the kernel inherits: where to record, and none of the user's IPython profile."""
    os.environ[VARIABLE] = str(results)
    os.environ["GAHB_PAGE"] = "1"  # live figures say that they need a kernel, bars leave one line
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    os.environ["JUPYTER_RUNTIME_DIR"] = str(folder)
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"


def _choose_parameters(page: Page, profile: str) -> dict[str, Any]:
    """Return the page's parameters, and the profile where the notebook takes one.

    Raises:
        ValueError: for a parameter that the cell tagged "parameters" does not set.
    """
    cells = json.loads(page.notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    code = "\n".join("".join(cell["source"]) for cell in tagged)
    takes = {
        target.id
        for node in ast.parse(code).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    unknown = sorted(set(page.parameters) - takes)
    if unknown:
        raise ValueError(
            f"parameters of page {page.name} must be of {sorted(takes)}, not {unknown}"
        )
    return {**({"profile": profile} if "profile" in takes else {}), **page.parameters}


def _execute(page: Page, places: Places, part: Path, results: Path) -> None:
    """Execute `page` into `part` and `results`; papermill's error carries the failing cell."""
    import papermill
    from papermill.engines import papermill_engines

    # it warns of parameters that its own parser cannot read; ours has checked them
    logging.getLogger("papermill.translators").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="gahb-") as name:
        _set_environment(Path(name), results)
        papermill_engines.register("gahb", _make_engine(Path(name)))
        papermill.execute_notebook(
            page.notebook, part, parameters=_choose_parameters(page, places.profile),
            engine_name="gahb", kernel_name="python3", language="python",
            cwd=page.notebook.parent, progress_bar=False, request_save_on_cell_execute=False,
        )  # fmt: skip


def execute_page(page: Page, places: Places) -> None:
    """Execute `page` and put its notebook, figures and fingerprint in place, or none of them.

    Raises:
        papermill.PapermillExecutionError: when a cell fails; the notebook as far as it went is
            then `places.failed(page.name)`.
        ValueError: for a parameter that the notebook does not have.
    """
    executed, results = places.executed(page.name), places.results(page.name)
    part = executed.with_name(f".{page.name}.part.ipynb")
    part_results = results.with_name(f".{page.name}.part.json")
    executed.parent.mkdir(parents=True, exist_ok=True)
    for stale in (part, part_results, places.stamp(page.name), places.failed(page.name)):
        stale.unlink(missing_ok=True)
    made_from = fingerprint(page, places)  # before the run: a file changed meanwhile is noticed
    write_atomically(part_results, "{}\n")
    try:
        _execute(page, places, part, part_results)
    except BaseException:
        if part.is_file():
            os.replace(part, places.failed(page.name))
        for stale in (executed, results, part_results):  # they show what no longer holds
            stale.unlink(missing_ok=True)
        raise
    os.replace(part_results, results)
    os.replace(part, executed)
    write_atomically(places.stamp(page.name), made_from + "\n")


def main(argv: list[str] | None = None) -> int:
    """Execute the page named on the command line; return 0, or 1 after saying what failed."""
    from papermill.exceptions import PapermillExecutionError

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("page")
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--root", type=Path, required=True)
    args = parser.parse_args(argv)
    (page,) = select_pages(load_pages(args.root), [args.page])
    try:
        execute_page(page, Places(args.root, args.profile))
    except PapermillExecutionError as error:
        print(f"cell {error.cell_index + 1}: {error.ename}: {error.evalue}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
