"""The stamp of a page: what it was made from, and what was made, as fingerprints."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from gahb_book.inputs import hash_inputs
from gahb_book.kept.uses import Use
from gahb_book.places import Places
from gahb_book.run.spec import Page
from gahb_core.files import hash_files, write_safely


def checkpoint_files(name: str, places: Places) -> list[Path]:
    """Return the files of a checkpoint (weights and card), or an empty list if one is missing."""
    base = os.environ.get("GAHB_CHECKPOINTS") or places.root / "book" / "checkpoints"
    stem = Path(base).expanduser() / places.profile / name
    files = [stem.with_name(stem.name + end) for end in (".safetensors", ".card.json")]
    return files if all(path.is_file() for path in files) else []


def page_fingerprint(page: Page, places: Places, used: list[str]) -> str:
    """Return the SHA-256 of all that a page is made from.

    That is: the notebook, its parameters and profile, what its kernel loaded and opened (`used`,
    see `inputs`), the lock file, the checkpoints it needs and the figures of other pages that it
    reads.
    """
    files = [page.notebook]
    if (lock := places.root / "requirements.txt").is_file():
        files.append(lock)
    for name in (*page.checkpoints, *page.also) if places.profile != "smoke" else ():
        files += checkpoint_files(name, places)  # those of smoke follow from the library's source
    files += [p for p in map(places.results, page.results) if p.is_file()]
    settings = json.dumps([places.profile, page.parameters, page.records], sort_keys=True)
    made_from = settings + hash_inputs(used, places.root) + hash_files(files, places.root)
    return hashlib.sha256(made_from.encode()).hexdigest()


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def write_stamp(
    page: Page, places: Places, made_from: str, used: list[str], *, kept: Sequence[Use]
) -> None:
    """Stamp what was made of a page: its executed notebook and its results, as they stand."""
    stamp = {
        "from": made_from,
        "used": used,
        "notebook": _hash_file(places.executed(page.name)),
        "results": _hash_file(places.results(page.name)),
        "kept": [use._asdict() for use in kept],
    }
    write_safely(places.stamp(page.name), json.dumps(stamp, indent=1) + "\n")


def read_stamp(page: Page, places: Places) -> dict | None:
    """Return a page's stamp; None where there is none, or a damaged one, or one of another kind."""
    try:
        stamp = json.loads(places.stamp(page.name).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    kinds = {"from": str, "used": list, "notebook": str, "results": str, "kept": list}
    whole = isinstance(stamp, dict) and all(isinstance(stamp.get(k), t) for k, t in kinds.items())
    return stamp if whole else None


def is_current(page: Page, places: Places) -> bool:
    """Return whether a page's notebook and results are what was made from what is there now."""
    stamp = read_stamp(page, places)
    return (
        stamp is not None
        and stamp["notebook"] == _hash_file(places.executed(page.name))
        and stamp["results"] == _hash_file(places.results(page.name))
        and stamp["from"] == page_fingerprint(page, places, stamp["used"])
    )


def is_whole(page: Page, places: Places) -> bool:
    """Return whether the executed notebook, if it is stamped, is the one that was stamped."""
    stamp = read_stamp(page, places)
    return stamp is None or stamp["notebook"] == _hash_file(places.executed(page.name))
