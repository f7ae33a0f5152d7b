"""The reference of the library, and which page follows which."""

import pytest
from conftest import ROOT

import gahb_core
from gahb_core.pages.furniture import find_neighbour, is_variant
from gahb_core.pages.reference import format_reference, list_definitions

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


def test_every_room_and_what_it_hands_on_is_in_the_reference():
    text = format_reference(ROOT)
    for room in gahb_core.ROOMS:
        assert f"\n## {room}\n" in f"\n{text}"
    for name in ("noise.add_noise", "sampling.sample", "jacobian.top_eigenpairs", "pages.record"):
        assert text.count(f"\n### {name}\n") == 1
    assert "_fill_parameters" not in text


def test_a_room_that_is_a_file_has_its_public_definitions():
    about, found = list_definitions("noise", ROOT)
    assert about
    assert "make_generator" in {node.name for node in found}
    assert not [node.name for node in found if node.name.startswith("_")]
