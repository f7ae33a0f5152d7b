"""A progress bar that leaves one plain line in a notebook, and none in a page of the book."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

from gahb_book.widgets.controls import in_page

T = TypeVar("T")


def progress(items: Iterable[T], total: int | None = None, label: str = "progress") -> Iterator[T]:
    """Yield the items while a bar shows how many have passed; one line stays, not in a page.

    Args:
        items: what to pass on.
        total: how many, when `items` cannot say.
        label: what they are.
    """
    count = 0
    for item in tqdm(items, desc=label, total=total, leave=False, disable=in_page()):
        yield item
        count += 1
    if not in_page():
        print(f"{label}: {count} done")
