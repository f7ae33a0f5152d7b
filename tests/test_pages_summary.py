"""What reproduced: published figures beside ours, and the rule of the verdicts."""

import pytest
from conftest import ROOT

from gahb_core.pages import (
    Claim,
    Result,
    count_verdicts,
    format_reasons,
    format_rows,
    load_claims,
    load_news,
    load_pages,
    summarize,
)
from gahb_core.pages.summary import compare, find_claim

LIST = ROOT / "book" / "published.yml"


def judge(value, published, **claim):
    found = compare(Result("p", "a.b", value, published, "paper"), Claim(("a.b",), "it", **claim))
    return round(found.difference, 6), found.verdict


@pytest.mark.parametrize(
    ("value", "published", "claim", "expected"),
    [
        (1.09, 1.0, {}, (0.09, "reproduced")),
        (0.75, 1.0, {}, (-0.25, "partly")),
        (1.31, 1.0, {}, (0.31, "not")),
        (20.4, 20.0, {"unit": "dB"}, (0.4, "reproduced")),
        (18.6, 20.0, {"unit": "dB"}, (-1.4, "partly")),
        (18.4, 20.0, {"unit": "dB"}, (-1.6, "not")),
        (0.4, "0.39 to 0.43", {"low": 0.39, "high": 0.43}, (0, "reproduced")),
        (0.52, "0.39 to 0.43", {"low": 0.39, "high": 0.43}, (0.09, "partly")),  # of the nearer end
        (7.0, "above 1", {"low": 1}, (0, "reproduced")),
        ({"1": 1.0, "2": 1.4}, 1.0, {}, (0.4, "not")),  # the furthest
        ({"median": 1.0, "low": 0.1, "high": 9}, 1.0, {}, (0, "reproduced")),
        ({"a": 1.0, "b": 1.4}, 1.0, {"key": "a"}, (0, "reproduced")),
        ([1.0, 0.8], 1.0, {"within": 0.3}, (-0.2, "reproduced")),
    ],
)
def test_the_rule(value, published, claim, expected):
    assert judge(value, published, **claim) == expected


def test_a_published_text_must_be_said_in_numbers():
    with pytest.raises(ValueError, match="the published 'much' must be said in numbers"):
        judge(1.0, "much")


def test_a_bound_may_be_another_figure_of_the_page():
    claims = [Claim(("a.slope",), "slope", low=None, high="a.other")]
    results = [
        Result("p", "a.slope", 0.5, "lower", "paper"),
        Result("p", "a.other", 0.4),
        Result("q", "a.other", 9.0),  # of another page
    ]
    (row,) = summarize(results, claims)
    assert row.difference == pytest.approx(0.1)
    assert row.verdict == "partly"


def test_a_published_figure_without_words_is_refused():
    with pytest.raises(ValueError, match=r"a\.b of page p is published and must be in"):
        list(summarize([Result("p", "a.b", 1.0, 2.0, "paper")], []))


def test_what_a_page_did_not_record_as_published_comes_from_the_claim():
    claims = [Claim(("a.*",), "it, {}", pages=("p",), published=2.0, kind="figure", why="Small.")]
    rows = list(summarize([Result("p", "a.x.1", 1.0), Result("q", "a.x.1", 1.0)], claims))
    assert [row.result.page for row in rows] == ["p"]
    assert count_verdicts(rows) == {"rows": 1, "reproduced": 0, "partly": 0, "not": 1}
    assert format_rows(rows).startswith("{doc}`p`\n\n| figure | here |")
    assert format_rows(rows).endswith("\n| it, x, 1 | 1 | 2 [F] | −1 | not |")
    assert format_reasons(rows) == "- *it, x, 1.* Small."


@pytest.mark.parametrize("entry", ["- figures: a.b", "- {figures: a.b, what: c, whom: d}"])
def test_a_claim_that_is_none_is_refused(tmp_path, entry):
    path = tmp_path / "published.yml"
    path.write_text(f"claims:\n  {entry}\n")
    with pytest.raises(ValueError, match="must have figures and what"):
        load_claims(path)


def test_every_claim_and_every_new_figure_is_one_that_pages_record():
    recorded = [Result(page.name, name, 0.0) for page in load_pages(ROOT) for name in page.records]
    claims = load_claims(LIST)
    found = {id(find_claim(result, claims)) for result in recorded}
    idle = [claim.figures for claim in claims if id(claim) not in found]
    assert not idle, f"no page records {idle}"
    known = {(result.page, result.name) for result in recorded}
    assert not [news for news in load_news(LIST) if news[:2] not in known]


def test_the_summary_reads_every_page():
    pages = {page.name: page for page in load_pages(ROOT)}
    missing = pages.keys() - {"16_reproduced", *pages["16_reproduced"].results}
    assert not missing, f"chapter 16 must read the results of {sorted(missing)}"
