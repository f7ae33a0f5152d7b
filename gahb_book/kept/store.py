"""Where kept values lie: a card of JSON each, and the tensors in files named by what they hold.

A card's name says function and arguments, so that a value of changed code takes the place of the
old one; a file of tensors that stays the same is not written again, whatever changed around it.
"""

import hashlib
import json
import lzma
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gahb_book.kept.values import Packed
from gahb_book.places import find_root
from gahb_core.files import cache_folder, write_safely

MOST_BYTES = 500_000  # of one value
MOST_IN_ALL = 8_000_000  # of the book


class Damaged(ValueError):
    """A kept value that is not as it was written."""


class Card(NamedTuple):
    """What is known of a kept value.

    Attributes:
        function: its name.
        arguments: SHA-256 of the arguments.
        code: SHA-256 of function and modules, see `code`.
        page: that computed it; "" outside of a page.
        seconds: of processor that it took.
        machine: the processor's name.
        rate: of products of matrices there, in 10⁹ multiplications and additions a second.
        torch: version.
        bits: of its pictures: 8 or 32, see `values`.
        functions: of the notebook that it depends on.
        modules: of the library.
        tree: the value, see `values`.
        arrays: SHA-256 of its tensors' file; "" where it has none.
    """

    function: str
    arguments: str
    code: str
    page: str
    seconds: float
    machine: str
    rate: float
    torch: str
    bits: int
    functions: list[str]
    modules: list[str]
    tree: Any
    arrays: str

    @property
    def slot(self) -> str:
        """What names a value, whatever its code: function and arguments."""
        return slot_of(self.function, self.arguments)


def slot_of(function: str, arguments: str) -> str:
    """Return what names a value: its function, and the beginning of its arguments' hash."""
    return f"{function}.{arguments[:12]}"


def _seal(card: dict) -> str:
    content = json.dumps({k: v for k, v in card.items() if k != "sha256"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


class Store(NamedTuple):
    """A folder of kept values."""

    folder: Path

    def card_path(self, slot: str) -> Path:
        """Return the file of a card."""
        return self.folder / f"{slot}.json"

    def arrays_path(self, sha256: str) -> Path:
        """Return the file of tensors with that hash."""
        return self.folder / f"{sha256[:16]}.safetensors.xz"

    def read_card(self, slot: str) -> Card | None:
        """Return the card of a slot; None: there is none.

        Raises:
            Damaged: where it is not as it was written, naming the file.
        """
        path = self.card_path(slot)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or found.pop("sha256", None) != _seal(found):
                raise ValueError("its checksum is another")
            card = Card(**found)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise Damaged(f"the kept value {path} is damaged ({error})") from error
        if card.slot != slot:
            raise Damaged(f"the kept value {path} is that of {card.slot}")
        return card

    def read(self, card: Card) -> Packed:
        """Return the value of a card.

        Raises:
            Damaged: where its tensors are missing, or not as they were written.
        """
        if not card.arrays:
            return Packed(card.tree, b"")
        path = self.arrays_path(card.arrays)
        try:
            arrays = lzma.decompress(path.read_bytes())
        except FileNotFoundError as error:
            raise Damaged(f"the tensors {path} of {card.slot} are not there") from error
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise Damaged(f"the tensors {path} of {card.slot} are damaged: {error}") from error
        if hashlib.sha256(arrays).hexdigest() != card.arrays:
            raise Damaged(f"the tensors {path} of {card.slot} are damaged: another checksum")
        return Packed(card.tree, arrays)

    def write(self, card: Card, packed: Packed) -> None:
        """Write a value, whole or not at all; tensors that are there already are not written."""
        path = self.arrays_path(card.arrays) if packed.arrays else None
        if path and not self._holds(card):
            write_safely(path, lzma.compress(packed.arrays), sync=False)
        text, target = self._text(card), self.card_path(card.slot)
        try:
            same = target.read_bytes() == text.encode()
        except FileNotFoundError:  # never written, or taken away by another process just now
            same = False
        if not same:
            write_safely(target, text, sync=False)

    def _holds(self, card: Card) -> bool:
        try:
            return bool(self.read(card).arrays)
        except Damaged:
            return False

    def _text(self, card: Card) -> str:
        content = card._asdict()
        return json.dumps(content | {"sha256": _seal(content)}, sort_keys=True) + "\n"

    def cards(self) -> Iterator[Card]:
        """Yield every card that is whole, by name."""
        for path in sorted(self.folder.glob("[!.]*.json")):
            try:
                card = self.read_card(path.stem)
            except Damaged:
                continue
            if card:
                yield card

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(path.stat().st_size for path in self.folder.glob("[!.]*.*") if path.is_file())


@cache
def _root(here: str) -> Path | None:
    try:
        return find_root(Path(here))
    except ValueError:  # the library alone, without a clone of the book
        return None


def stores(root: Path | None = None) -> tuple[Store, Store]:
    """Return what ships, book/kept, and what is kept on this machine, _build/kept."""
    root = root or _root(os.getcwd())
    if root is None:
        folder = cache_folder() / "kept"
        return Store(folder), Store(folder)
    return Store(root / "book" / "kept"), Store(root / "_build" / "kept")


def check_size(packed: Packed, function: str) -> Packed:
    """Return a packed value, not too large to be kept.

    Raises:
        ValueError: where it is, with what to do.
    """
    size = len(lzma.compress(packed.arrays)) + len(json.dumps(packed.tree))
    if size > MOST_BYTES:
        raise ValueError(
            f"the value of {function} must be at most {MOST_BYTES / 1e3:.0f} kB to be kept, not "
            f"{size / 1e3:.0f} kB: return what is shown of it, and pictures with bits=8"
        )
    return packed
