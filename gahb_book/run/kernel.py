"""The kernel of a page: this very Python, reached without network ports, in a folder of its own."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gahb_core
from gahb_book import inputs, record
from gahb_book.kept import uses
from gahb_core.files import make_owner, remove_orphans

MOST_SOCKET = 103  # bytes of a socket's path, the least that systems allow
SOCKET = "k-ipc-1"
STYLE = "matplotlibrc"
INPUTS, USES = "inputs.json", "kept.json"
IOPUB_SECONDS = 120  # a kernel on a busy machine may be silent for long before it prints


def _choose_base() -> Path:
    """Return a folder for temporary files whose path is short enough for a socket.

    Raises:
        ValueError: where there is none.
    """
    own = f"gahb-{make_owner()}_12345678"
    bases = [Path(tempfile.gettempdir()), *map(Path, (["/tmp"] if os.name == "posix" else []))]
    for base in bases:
        fits = len(os.fsencode(base / own / SOCKET)) <= MOST_SOCKET
        if (fits or os.name != "posix") and os.access(base, os.W_OK):
            return base
    most = MOST_SOCKET - len(os.fsencode(Path(own) / SOCKET)) - 1
    raise ValueError(
        f"TMPDIR must be a writable folder whose path has at most {most} bytes, so that the "
        f"kernel's sockets can be made in it, not {bases[0]}"
    )


@contextlib.contextmanager
def kernel_folder() -> Iterator[Path]:
    """Yield a folder for a kernel's files, and remove it; those that dead processes left go too."""
    base = _choose_base()
    remove_orphans(base)
    with tempfile.TemporaryDirectory(prefix=f"gahb-{make_owner()}_", dir=base) as name:
        yield Path(name)


# what of the reader's environment never reaches a kernel: other packages and libraries, files that
# Python or Matplotlib would read first, and switches that change what they do
DROPPED = (
    "PYTHONHOME", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONWARNINGS",
    "PYTHONUSERBASE", "PYTHONPLATLIBDIR", "PYTHONDEVMODE", "PYTHONIOENCODING", "PYTHONCASEOK",
    "LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "IPYTHON_CONFIG",
    "PYDEVD_USE_FRAME_EVAL", "TORCH_LOGS", "TORCH_FORCE_WEIGHTS_ONLY_LOAD",
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "PYTORCH_JIT", "NPY_PROMOTION_STATE", "TQDM_DISABLE",
)  # fmt: skip


def decide_environment(folder: Path) -> dict[str, str]:
    """Return what a kernel's environment says, whatever the reader's does.

    A page is the same whoever runs it: its pictures (the backend, no style of the reader's), its
    texts (UTF-8, English), its packages (those of this Python, and this library before others).
    """
    return {
        "GAHB_PAGE": "1",  # live figures say that they need a kernel, bars leave one line
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MATPLOTLIBRC": str(folder / STYLE),  # empty; its cache of fonts stays where it is
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": str(Path(gahb_core.__file__).resolve().parents[1]),
        "PYTHONUTF8": "1",
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "en",
        "COLUMNS": "80",
        "LINES": "24",
    }


def set_environment(folder: Path, results: Path, page: str) -> None:
    """Set what the kernel of a page inherits: where to record and note, nothing left to chance."""
    for name in DROPPED:
        os.environ.pop(name, None)
    if os.path.expanduser("~") == "~":  # no HOME, and nobody among the users: many packages ask
        os.environ["HOME"] = str(folder)
    os.environ |= decide_environment(folder)
    os.environ |= {record.VARIABLE: str(results), inputs.VARIABLE: str(folder / INPUTS)}
    os.environ |= {uses.VARIABLE: str(folder / USES), uses.PAGE: page}
    (folder / STYLE).write_text("", encoding="utf-8")
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00-inputs.py").write_text(inputs.STARTUP, encoding="utf-8")


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
            name = str(folder / "k.json")
            super().__init__(
                **{**kwargs, "kernel_spec_manager": specs, "connection_file": name, **sockets}
            )

    return PageKernelManager


def _number(cells: list, index: int) -> int:
    """Return the number of a cell in the notebook as it was written."""
    tags = [cell.metadata.get("tags", []) for cell in cells[: index + 1]]
    return sum("injected-parameters" not in tag for tag in tags)


def make_engine(folder: Path, part: Path, at: list[int]) -> type:
    """Return papermill's engine with that kernel.

    It prints each cell as it starts and keeps its number, counted in the notebook as written, in
    `at`; whatever happens, `part` is left with the notebook as far as it went.
    """
    import nbformat
    from papermill.engines import NBClientEngine

    class PageEngine(NBClientEngine):
        """Runs the cells and says which one runs."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> Any:
            """Return the executed notebook."""
            started, cells = nb_man.cell_start, nb_man.nb.cells

            def cell_start(cell: Any, cell_index: int = 0, **more: Any) -> None:
                at[:] = [_number(cells, cell_index)]
                print(f"cell {at[0]}/{_number(cells, len(cells) - 1)}", flush=True)
                started(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            try:
                return super().execute_managed_notebook(
                    nb_man, kernel_name, kernel_manager_class=_make_manager(folder),
                    iopub_timeout=IOPUB_SECONDS, **kwargs,
                )  # fmt: skip
            except BaseException:
                with contextlib.suppress(OSError):  # of a full disk, which is said elsewhere
                    nbformat.write(nb_man.nb, part)
                raise

    return PageEngine
