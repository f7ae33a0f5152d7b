"""Pages that cannot run here: what is missing, and the copy that the book shows instead."""

import json
from pathlib import Path

from gahb_book.places import Places
from gahb_book.run.notebooks import read_notebook
from gahb_book.run.spec import Page
from gahb_book.run.stamp import checkpoint_files


def find_missing(page: Page, places: Places) -> str | None:
    """Return what the page lacks and the command that brings it, or None when nothing."""
    for dataset in page.data:
        from gahb_core.data import MissingData, locate  # here: it loads torch, seconds saved

        try:
            locate(dataset)
        except MissingData as error:
            return str(error)
    for name in page.files:
        if missing := _find_missing_file(name):
            return missing
    for name in page.checkpoints if places.profile != "smoke" else ():  # smoke trains its own
        if not checkpoint_files(name, places):
            return _say_how_to_train(name, places.profile)
    return None


def _find_missing_file(name: str) -> str | None:
    """Return that a file is not in the data folder and what brings it, or None where it is."""
    from gahb_core import data  # here: they load torch
    from gahb_core.training import authors  # here: they load torch

    folder = data.data_folder()
    if (folder / name).is_file():
        return None
    published = {f"{authors.FOLDER}/{network}.pt" for network in authors.SHA256}
    fetch = "'gahb fetch authors' downloads it, or " if name in published else ""
    return f"the file {name} is not in {folder}: {fetch}set GAHB_DATA to a folder with it"


def _say_how_to_train(name: str, profile: str) -> str:
    """Return which command trains a network, or that the profile has none of this name."""
    from gahb_core.training import RECIPES  # here: it loads torch

    if name not in RECIPES[profile]:
        return (
            f"profile {profile} has no network {name!r}, which the page needs: "
            f"`gahb recipes --profile {profile}` lists those it has"
        )
    return (
        f"the checkpoint {name!r} of profile {profile} is missing: "
        f"`gahb train {name} --profile {profile}` trains it"
    )


def make_note_page(notebook: Path, reason: str) -> bytes:
    """Return the notebook, without outputs and with `reason` as a note below its title."""
    content = read_notebook(notebook)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    text = f"```{{admonition}} This page was not run here\n:class: note\n{reason}\n```"
    note = {"cell_type": "markdown", "metadata": {}, "source": text}
    if content.get("nbformat_minor", 0) >= 5:
        note["id"] = "not-run"
    content["metadata"].pop("widgets", None)  # the state of widgets that are not shown
    first = content["cells"][:1]
    at = 1 if first and first[0]["cell_type"] == "markdown" else 0  # below the title
    content["cells"].insert(at, note)
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
