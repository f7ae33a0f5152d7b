"""Marks of tests that need more than the science."""

from importlib.util import find_spec

import pytest

needs_book = pytest.mark.skipif(
    find_spec("papermill") is None, reason="the extra [book] is not installed (papermill)"
)
needs_lmdb = pytest.mark.skipif(
    find_spec("lmdb") is None, reason="the extra [paper] is not installed (lmdb)"
)


def needs(package: str) -> pytest.MarkDecorator:
    """Mark a test that compares with another package, of the extra [compare]."""
    return pytest.mark.skipif(
        find_spec(package) is None, reason=f"the extra [compare] is not installed ({package})"
    )
