"""Figures over seeds: the file of the book, and how its ranges are shown."""

import json

import pytest

from gahb_book.report import (
    Published,
    find_ranges,
    format_page,
    format_pages,
    format_rows,
    load_seeds,
    summarize,
)
from gahb_book.report.results import Result

WORDS = [Published(("a.psnr.*",), "PSNR at {} dB", unit="dB"), Published(("a.both",), "both")]
FIGURES = {
    "a.psnr.10": [20.0, 21.0, 19.5],
    "a.both": [{"x": 1.0, "y": 2.0}, {"x": 0.5, "y": 2.0}, {"x": 1.0, "y": 3.0}],
    "a.without_words": [1, 2, 3],
}


def test_ranges_are_of_every_number():
    ranges = {r.name: (r.low, r.high) for r in find_ranges(FIGURES)}
    assert ranges["a.psnr.10"] == (19.5, 21.0)
    assert ranges["a.both[x]"] == (0.5, 1.0)
    widths = {r.name: r.width for r in find_ranges(FIGURES)}
    assert widths["a.without_words"] == 1
    assert next(find_ranges({"zero": [0, 1, -1]})).width == float("inf")
    assert list(find_ranges({"rounding": [1e-11, 3e-9, 0]})) == []


def test_a_page_shows_the_ranges_of_the_figures_that_have_words():
    table = format_page("p", FIGURES, WORDS)
    assert "| PSNR at 10 dB | 20 dB | 19.5 to 21 dB |" in table
    assert "| both | 1 to 2 | 0.5 to 3 |" in table
    assert "without" not in table
    assert format_page("p", {"b": [1, 2]}, WORDS) == ""
    assert "| {doc}`p` | 4 |" in format_pages({"p": FIGURES})


def test_the_summary_has_a_column_of_ranges():
    row = Result("p", "a.psnr.10", 20.0, 20.2, "paper")
    table = format_rows(list(summarize([row], WORDS)), {"p": FIGURES})
    assert "| PSNR at 10 dB | 20 dB | 19.5 to 21 | 20.2 [P] |" in table
    assert "| 20 dB |  | 20.2 [P] |" in format_rows(list(summarize([row], WORDS)))


def test_a_file_with_uneven_seeds_is_refused(tmp_path):
    path = tmp_path / "seeds.json"
    assert load_seeds(path) == {}
    path.write_text(json.dumps({"values": {"p": {"a": [1, 2], "b": [1]}}}))
    with pytest.raises(ValueError, match="as many seeds for every figure"):
        load_seeds(path)
