"""Which page follows which."""

import importlib

import pytest
from projects import ROOT

import gahb_core
from gahb_book.site.docstrings import escape
from gahb_book.site.furniture import find_neighbour, is_variant

PAGES = ["a", "03_x", "03_x_faces", "03_x_two", "03_y", "04_z"]
RELATIONS = {
    page: [None, PAGES[i - 1] if i else None, PAGES[i + 1] if i < 5 else None]
    for i, page in enumerate(PAGES)
}


@pytest.mark.parametrize(
    ("page", "before", "after"),
    [
        ("a", None, "03_x"),
        ("03_x", "a", "03_y"),  # not its variants
        ("03_x_faces", "03_x", "03_x_two"),
        ("03_x_two", "03_x_faces", "03_y"),
        ("03_y", "03_x", "04_z"),
        ("04_z", "03_y", None),
        ("search", None, None),  # no page of the contents
    ],
)
def test_next_follows_the_argument_not_the_variants(page, before, after):
    assert find_neighbour(page, RELATIONS, 1) == before
    assert find_neighbour(page, RELATIONS, 2) == after


def test_a_variant_has_the_name_of_its_chapter_and_more():
    assert [p for p in PAGES if is_variant(p, PAGES)] == ["03_x_faces", "03_x_two"]


def test_every_room_for_readers_is_in_the_reference():
    text = (ROOT / "book" / "api.md").read_text()
    inner = {"checks", "files"}  # what rooms use, and nobody calls
    for room in set(gahb_core.ROOMS) - inner:
        module = importlib.import_module(f"gahb_core.{room}")
        directive = f".. automodule:: gahb_core.{room}\n"
        handed_on = "   :imported-members:\n" if hasattr(module, "__path__") else "```"
        assert text.count(directive + handed_on) == 1


def test_marks_of_the_builder_are_escaped_outside_code():
    line = "‖x‖ of |x|, `a*b`, 2 * (B, *shape) and sigma_ but not sigma_0"
    assert escape(line) == r"‖x‖ of \|x\|, `a*b`, 2 \* (B, \*shape) and sigma\_ but not sigma_0"
