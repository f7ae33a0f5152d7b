"""What of the pages is kept: a list, and how values of this machine go into the book."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gahb_book.kept import code
from gahb_book.kept.store import MOST_IN_ALL, Card, Damaged, Store, stores
from gahb_book.kept.uses import Use
from gahb_book.kept.values import differences, unpack
from gahb_book.places import Places
from gahb_book.run import load_pages, select_pages
from gahb_book.run.notebooks import code_of, read_notebook
from gahb_book.run.spec import Page
from gahb_book.run.stamp import read_stamp
from gahb_core.files import write_safely


class Row(NamedTuple):
    """A kept value: `state` is "current", "stale", "missing" (in the book), "unused", "damaged"."""

    page: str
    function: str
    arguments: str
    seconds: float
    kB: float  # noqa: N815 - the unit
    rate: float
    state: str
    machine: str


def kept_sources(root: Path) -> dict[str, str]:
    """Return the kept functions of the notebooks of `root`: name → syntax, see `code`."""
    found: dict[str, str] = {}
    for path in sorted((root / "book").glob("*.ipynb")):
        found |= code.find_kept(code_of(read_notebook(path)))
    return found


def is_current(card: Card, sources: dict[str, str]) -> bool:
    """Return whether a value is of the code as it is now."""
    if any(name not in sources for name in card.functions):
        return False
    try:
        digest = code.digest_of({n: sources[n] for n in card.functions}, code.close(card.modules))
    except ModuleNotFoundError:
        return False
    return digest == card.code


def uses_of(page: Page, places: Places) -> list[Use] | None:
    """Return the kept values that a page used when it ran last; None: that is not known."""
    stamp = read_stamp(page, places)
    return None if stamp is None else [Use(**use) for use in stamp["kept"]]


def _row(page: str, card: Card, store: Store, state: str) -> Row:
    files = [store.card_path(card.slot), *([store.arrays_path(card.arrays)] * bool(card.arrays))]
    size = sum(path.stat().st_size for path in files if path.is_file())
    return Row(
        page, card.function, card.arguments[:12], card.seconds, size / 1e3,
        card.rate, state, card.machine,
    )  # fmt: skip


def _state(card: Card, ship: Store, sources: dict[str, str], used: bool) -> str:
    try:
        ship.read(card)
    except Damaged:
        return "damaged"
    if not is_current(card, sources):
        return "stale"
    return "current" if used else "unused"


def list_kept(places: Places, names: list[str]) -> list[Row]:
    """Return what is kept of pages, in their order, and what they used that is not in the book."""
    ship, local = stores(places.root)
    sources, pages = kept_sources(places.root), load_pages(places.root)
    chosen = select_pages(pages, names)
    shipped = {card.slot: card for card in ship.cards()}
    users = users_of(pages, places)
    rows = []
    for page in chosen:
        uses = uses_of(page, places)
        for card in shipped.values():
            if card.page == page.name:
                used = uses is None or card.slot in users
                rows.append(_row(page.name, card, ship, _state(card, ship, sources, used)))
        for use in uses or []:
            if use.slot not in shipped and users[use.slot] == page.name:
                computed = _read(local, use.slot)
                if computed:
                    rows.append(_row(page.name, computed, local, "missing"))
                else:
                    name, _, arguments = use.slot.partition(".")
                    rows.append(Row(page.name, name, arguments, use.seconds, 0, 0, "missing", ""))
    return rows


def users_of(pages: Iterable[Page], places: Places) -> dict[str, str]:
    """Return for each kept value the first page that used it: slot → page."""
    found: dict[str, str] = {}
    for page in pages:
        for use in uses_of(page, places) or []:
            found.setdefault(use.slot, page.name)
    return found


def format_shipped(places: Places) -> str:
    """Return a table in Markdown of what the book keeps, a page a row."""
    cards = list(stores(places.root)[0].cards())
    rows = [
        "| page | kept functions, and how many values | computed in | on |",
        "|---|---|---|---|",
    ]
    for page in load_pages(places.root):
        own = [card for card in cards if card.page == page.name]
        if own:
            counts = Counter(card.function for card in own)
            what = ", ".join(f"`{name}` {num}" for name, num in sorted(counts.items()))
            machines = ", ".join(sorted({card.machine for card in own}))
            seconds = sum(card.seconds for card in own)
            rows.append(f"| {{doc}}`{page.name}` | {what} | {seconds:.0f} s | {machines} |")
    if len(rows) == 2:
        return "Nothing is kept in this build: every page computed all that it shows."
    total = sum(card.seconds for card in cards) / 60
    return "\n".join([*rows, "", f"Together {len(cards)} values, {total:.0f} minutes of one core."])


def _read(store: Store, slot: str) -> Card | None:
    try:
        return store.read_card(slot)
    except Damaged:
        return None


def _take(slot: str, page: str, ship: Store, local: Store, sources: dict[str, str]) -> str | None:
    """Bring a value of this machine to the book; return what was done, None: nothing."""
    old, new = _read(ship, slot), _read(local, slot)
    if new is None or not is_current(new, sources):
        return None
    if old is not None and is_current(old, sources):
        return None
    packed = local.read(new)
    if old is not None and old.bits == new.bits:
        try:
            before = ship.read(old)
        except Damaged:
            before = None
        values = [unpack(p, place=False) for p in (before, packed) if p]
        if before and not differences(*values, rtol=1e-5, atol=1e-8):  # stays as it is
            new = old._replace(code=new.code, functions=new.functions, modules=new.modules)
            ship.write(new._replace(page=page), before)
            return "same value, of changed code"
    ship.write(new._replace(page=page), packed)
    return "new value" if old is None else "changed value"


def write_kept(places: Places, names: list[str]) -> list[str]:
    """Bring the values that pages used from this machine to book/kept, and remove what none uses.

    A value that is there and differs by no more than rounding stays as it is, byte by byte.

    Args:
        places: the project.
        names: pages, or their beginnings; none: all. What pages that have not run here use is not
            known, and stays.

    Returns:
        A line for each value that was written or removed.

    Raises:
        ValueError: where all together would be larger than the book can have: nothing is written.
    """
    ship, local = stores(places.root)
    _sweep(local)
    with tempfile.TemporaryDirectory() as folder:
        trial = Store(Path(folder))
        if ship.folder.is_dir():
            shutil.copytree(ship.folder, trial.folder, dirs_exist_ok=True)
        said = _bring(places, names, local, trial)
        if (size := trial.size()) > MOST_IN_ALL:
            raise ValueError(
                f"book/kept must be at most {MOST_IN_ALL / 1e6:.0f} MB, not {size / 1e6:.1f} MB: "
                "return less from kept functions, or name fewer pages"
            )
        _replace(ship.folder, trial.folder)
    return said


def _bring(places: Places, names: list[str], local: Store, ship: Store) -> list[str]:
    """Bring the values that pages used from one store to the other; a line for each that moved."""
    sources, pages = kept_sources(places.root), load_pages(places.root)
    users, said = users_of(pages, places), []
    chosen = {page.name for page in select_pages(pages, names)}
    ran = {page.name for page in pages if uses_of(page, places) is not None}
    for slot, page in users.items():
        if page in chosen and (done := _take(slot, page, ship, local, sources)):
            said.append(f"{page}: {slot}: {done}")
    known = {page.name for page in pages}
    for card in list(ship.cards()):
        gone = card.page not in known or card.page in chosen & ran
        if gone and card.slot not in users:
            ship.card_path(card.slot).unlink()
            said.append(f"{card.page}: {card.slot}: removed, for no page uses it")
    _sweep(ship)
    return said


def _replace(folder: Path, by: Path) -> None:
    """Make a folder's files those of another: tensors first, for no card is to miss its own."""
    made = {path.name: path.read_bytes() for path in by.iterdir() if path.is_file()}
    for name in sorted(made, key=lambda name: name.endswith(".json")):
        if not (folder / name).exists() or (folder / name).read_bytes() != made[name]:
            write_safely(folder / name, made[name], sync=False)
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if path.is_file() and path.name not in made:
            path.unlink()


def _sweep(store: Store) -> None:
    """Remove files of tensors that no card names."""
    named = {store.arrays_path(card.arrays) for card in store.cards()}
    for path in store.folder.glob("[!.]*.safetensors.xz"):
        if path not in named:
            path.unlink()


def list_differences(places: Places, names: list[str]) -> list[str]:
    """Return what of the pages' kept values differed when it was computed anew, a line each."""
    return [
        f"{page.name}: {use.slot}: {text}"
        for page in select_pages(load_pages(places.root), names)
        for use in uses_of(page, places) or []
        for text in use.differs
    ]
