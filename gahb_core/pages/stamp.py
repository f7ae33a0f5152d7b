"""The stamp of a page: what it was made from, and what was made, as fingerprints."""

import hashlib
import json
import os
from pathlib import Path

from gahb_core.files import hash_files, write_safely
from gahb_core.pages.sources import hash_used
from gahb_core.pages.spec import Page, Places


def checkpoint_files(name: str, places: Places) -> list[Path]:
    """Return the files of a checkpoint (weights and card), or an empty list if one is missing."""
    base = os.environ.get("GAHB_CHECKPOINTS") or places.root / "book" / "checkpoints"
    stem = Path(base).expanduser() / places.profile / name
    files = [stem.with_name(stem.name + end) for end in (".safetensors", ".card.json")]
    return files if all(path.is_file() for path in files) else []


def page_fingerprint(page: Page, places: Places) -> str:
    """Return the SHA-256 of all that a page is made from.

    That is: the notebook, its parameters and profile, what of the library it uses (see
    `sources`), the lock file, what benchmarks left in book/measured and it reads, the checkpoints
    it needs and the figures of other pages that it reads.

    Raises:
        ValueError: where the notebook is damaged.
    """
    files = [page.notebook]
    if (lock := places.root / "requirements.txt").is_file():
        files.append(lock)
    for name in (*page.checkpoints, *page.also) if places.profile != "smoke" else ():
        files += checkpoint_files(name, places)  # those of smoke follow from the library's source
    files += [p for p in map(places.results, page.results) if p.is_file()]
    settings = json.dumps([places.profile, page.parameters, page.records], sort_keys=True)
    made_from = settings + hash_used(page.notebook, places.root) + hash_files(files, places.root)
    return hashlib.sha256(made_from.encode()).hexdigest()


def _hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def _describe(page: Page, places: Places, made_from: str) -> str:
    made = {"from": made_from, "notebook": _hash_file(places.executed(page.name))}
    made["results"] = _hash_file(places.results(page.name))
    return "".join(f"{key} {value}\n" for key, value in made.items())


def write_stamp(page: Page, places: Places, made_from: str) -> None:
    """Stamp what was made of a page: its executed notebook and its results, as they stand."""
    write_safely(places.stamp(page.name), _describe(page, places, made_from))


def is_current(page: Page, places: Places) -> bool:
    """Return whether a page's notebook and results are what was made from what is there now."""
    stamp = places.stamp(page.name)
    if not stamp.is_file():
        return False
    found = stamp.read_text(encoding="utf-8", errors="replace")
    return found == _describe(page, places, page_fingerprint(page, places))


def is_whole(page: Page, places: Places) -> bool:
    """Return whether the executed notebook, if it is stamped, is the one that was stamped."""
    stamp = places.stamp(page.name)
    if not stamp.is_file():
        return True
    line = f"notebook {_hash_file(places.executed(page.name))}\n"
    return line in stamp.read_text(encoding="utf-8", errors="replace")
