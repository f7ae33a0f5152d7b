"""Kept values: what a page takes long to compute, and computes the same until its code changes.

A function of a notebook that is decorated with `keep` is computed once, and its value kept: in
`book/kept/`, which ships, or in `_build/kept/`. What it depends on is found, not declared: its own
source, its arguments, and the modules that it uses (`code`, `arguments`). It is a cache, never a
source: `gahb run --fresh` computes everything anew and says what differs.
"""

from typing import Any

__all__ = ["keep"]  # noqa: F822 - see below


def __getattr__(name: str) -> Any:
    """Return `keep`; torch, which it needs, is imported by nobody who asks for no values."""
    if name not in __all__:
        raise AttributeError(f"{__name__} has no {name}")
    from gahb_book.kept.decorate import keep

    return keep
