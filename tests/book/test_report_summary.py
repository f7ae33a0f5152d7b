"""What reproduced: published figures beside ours, the rule of the verdicts, and the claims."""

import re
from fnmatch import fnmatchcase

import pytest
from projects import ROOT

from gahb_book.report import (
    SOURCES,
    Claim,
    Control,
    Published,
    Result,
    compare,
    count_claims,
    describe,
    find_claim,
    find_published,
    format_claims,
    format_places,
    format_reasons,
    format_rows,
    judge_claims,
    load_claims,
    load_news,
    load_published,
    summarize,
)
from gahb_book.run import load_pages
from gahb_book.site import page_heading

LIST = ROOT / "book" / "published.yml"
RECORDED = [Result(page.name, name, 0.0) for page in load_pages(ROOT) for name in page.records]


def judge(value, published, **entry):
    found = compare(
        Result("p", "a.b", value, published, "paper"), Published(("a.b",), "it", **entry)
    )
    return round(found.difference, 6), found.verdict


@pytest.mark.parametrize(
    ("value", "published", "entry", "expected"),
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
        (14.0, 10.0, {"within": "50%"}, (4, "reproduced")),
        (16.0, 10.0, {"within": "50%"}, (6, "partly")),
        (0.1, 0, {}, (0.1, "not")),  # a tenth of nothing is nothing
    ],
)
def test_the_rule(value, published, entry, expected):
    assert judge(value, published, **entry) == expected


def test_a_published_text_must_be_said_in_numbers():
    with pytest.raises(ValueError, match="the published 'much' must be said in numbers"):
        judge(1.0, "much")


def test_a_bound_may_be_another_figure_of_the_page():
    entries = [Published(("a.slope",), "slope", low=None, high="a.other")]
    results = [
        Result("p", "a.slope", 0.5, "lower", "paper"),
        Result("p", "a.other", 0.4),
        Result("q", "a.other", 9.0),  # of another page
    ]
    (row,) = summarize(results, entries)
    assert row.difference == pytest.approx(0.1)
    assert row.verdict == "partly"


def test_a_published_figure_without_words_is_refused():
    with pytest.raises(ValueError, match=r"a\.b of page p is published and must be in"):
        list(summarize([Result("p", "a.b", 1.0, 2.0, "paper")], []))


def test_what_a_page_did_not_record_as_published_comes_from_the_entry():
    entries = [Published(("a.*",), "it, {}", pages=("p",), published=2.0, kind="figure", why="S.")]
    rows = list(summarize([Result("p", "a.x.1", 1.0), Result("q", "a.x.1", 1.0)], entries))
    assert [(row.result.page, row.verdict) for row in rows] == [("p", "not")]
    assert format_rows(rows).startswith("{doc}`p`\n\n| figure | here |")
    assert format_rows(rows).endswith("\n| it, x, 1 | 1 |  | 2 [F] | −1 | not |")
    assert format_reasons(rows) == "- *it, x, 1.* S."


@pytest.mark.parametrize(
    ("figures", "name", "expected"),
    [
        (("a.b",), "a.b", "it: "),
        (("a.*",), "a.b.1", "it: b, 1"),
        (("a.*.m8",), "a.5.m8", "it: 5"),
        (("a.*.c.*",), "a.b.c.1", "it: b, c, 1"),
        (("a.x.1", "a.x.12"), "a.x.12", "it: 12"),
    ],
)
def test_what_varies_stands_in_the_words(figures, name, expected):
    assert describe(name, Published(figures, "it: {}")) == expected


# --- a tolerance that a stand-in passes is none ---------------------------------------------


def test_a_tolerance_that_the_control_passes_is_refused():
    """A tenth of a published correlation of 0.93 lets the mean training image pass; 0.03 does not.

    So with the first no figure is judged, however near it is.
    """
    mean = Control("the mean training image", 0.847)
    wide = r"a\.b: .* must be narrower.* the mean training image \(0\.847\) would count"
    with pytest.raises(ValueError, match=wide):
        judge(0.93, 0.93, control=mean)
    assert judge(0.92, 0.93, within=0.03, control=mean) == (-0.01, "reproduced")


def test_a_control_may_be_a_figure_of_the_page_and_of_some_figures_only():
    control = Control("chance", "a.chance.{}", of=("a.r.1",))
    entries = [Published(("a.r.*",), "r at {}", control=control)]
    one, two = (Result("p", f"a.r.{n}", 0.95, 0.95, "paper") for n in (1, 2))
    beside = {1: Result("p", "a.chance.1", 0.5), 2: Result("p", "a.chance.1", 0.9)}
    rows = list(summarize([one, two, beside[1]], entries))
    assert [row.verdict for row in rows] == ["reproduced"] * 2
    with pytest.raises(ValueError, match=r"a\.r\.1: .* chance \(0\.9\) would count"):
        list(summarize([one, beside[2]], entries))
    with pytest.raises(ValueError, match=r"must record its control, a\.chance\.1"):
        list(summarize([one, two], entries))


# --- claims ---------------------------------------------------------------------------------


def claim(name, figures, *sources, says="it holds"):
    return Claim(name, says, figures, tuple(sources), "a paper, Fig. 1")


def row_of(page, name, value, kind="paper"):
    return compare(Result(page, name, value, 1.0, kind), Published((name,), name))


def test_a_claim_is_as_good_as_its_worst_figure():
    claims = [claim("one", ("a.*",), ("*", "ours")), claim("two", ("b",), ("*", "other"))]
    rows = [row_of("p", "a.1", 1.05), row_of("q", "a.2", 1.2), row_of("p", "b", 1.0)]
    one, two = judge_claims(rows, claims)
    assert (one.verdict, one.worst.result.name, len(one.rows)) == ("partly", "a.2", 2)
    assert (two.verdict, two.source) == ("reproduced", "other")
    counts = count_claims([one, two])
    assert counts["ours"] == {"claims": 1, "reproduced": 0, "partly": 1, "not": 0}
    assert counts["other"]["reproduced"] == 1
    assert set(counts) == set(SOURCES)
    assert format_claims([one, two]).splitlines()[2:] == [
        "| it holds | partly | 1 of 2 | a.2 | 1.2 | 1 [P] |",
        "| it holds | reproduced | 1 of 1 | b | 1 | 1 [P] |",
    ]
    expected = "- *it holds.* a paper, Fig. 1. Here: {doc}`p`, {doc}`q`."
    assert format_places([one, two]).splitlines()[0] == expected


def test_sources_are_counted_apart():
    claims = [claim("one", ("a",), ("*_authors", "authors"), ("*", "other"))]
    rows = [row_of("p", "a", 2.0), row_of("p_authors", "a", 1.0)]
    found = [(j.source, j.verdict) for j in judge_claims(rows, claims)]
    assert found == [("other", "not"), ("authors", "reproduced")]


@pytest.mark.parametrize(
    ("claims", "kind", "match"),
    [
        ([], "paper", r"a must be a figure of one claim .* \[\]"),
        ([("one", "ours"), ("two", "ours")], "paper", "is one of .*'one', 'two'"),
        ([("one", "ours")], "theory", "source of one must be theory"),
        ([("one", "theory")], "paper", "source of one must be theory"),
    ],
)
def test_a_figure_is_of_one_claim_and_theory_stands_apart(claims, kind, match):
    claims = [claim(name, ("a",), ("*", source)) for name, source in claims]
    with pytest.raises(ValueError, match=match):
        judge_claims([row_of("p", "a", 1.0, kind)], claims)


def test_a_page_without_a_source_is_refused():
    with pytest.raises(ValueError, match="must say where page p has its figures from"):
        judge_claims([row_of("p", "a", 1.0)], [claim("one", ("a",), ("q", "ours"))])


# --- the file -------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["- figures: a.b", "- {figures: a.b, what: c, whom: d}"])
def test_an_entry_that_is_none_is_refused(tmp_path, entry):
    path = tmp_path / "published.yml"
    path.write_text(f"published:\n  {entry}\n")
    with pytest.raises(ValueError, match="must have figures and what"):
        load_published(path)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ("{says: b, figures: c, source: ours}", "claim a in .* must have .*where"),
        ("{says: b, figures: c, source: theirs, where: d}", "source of a must be one of ours"),
    ],
)
def test_a_claim_that_is_none_is_refused(tmp_path, entry, match):
    path = tmp_path / "published.yml"
    path.write_text(f"claims:\n  a: {entry}\n")
    with pytest.raises(ValueError, match=match):
        load_claims(path)


def test_every_entry_every_claim_and_every_new_figure_is_one_that_pages_record():
    entries, claims = load_published(LIST), load_claims(LIST)
    of = {(r.page, r.name): find_published(r, entries) for r in RECORDED}
    used = {id(entry) for entry in of.values()}
    idle = [entry.figures for entry in entries if id(entry) not in used]
    assert not idle, f"no page records {idle}"
    said = {name for (_, name), entry in of.items() if entry}
    idle = [c.name for c in claims if not any(fnmatchcase(n, f) for n in said for f in c.figures)]
    assert not idle, f"no entry under published is of {idle}"
    assert not [news for news in load_news(LIST) if news[:2] not in of]


PLACE = re.compile(
    r"\b(?:Fig|Figs|Table|section|appendix|figure|table|text|log|theory|Jacobians|example|fit)\b"
)
DATA = re.compile(
    r"faces?\b|garments|FashionMNIST|CelebA|ImageNet|photographs|natural images|Set5|disk|α = \d"
    r"|data sets|two Gaussians|random features|its number and data were not noted"
)
QUANTITY = re.compile(
    r"cosine|correlation|r²|\br\b|PSNR|dB|error|factor|slope|exponent|\bpower|steps|share|spread|loss"
    r"|log p|copies|copy|covariance|energy|asymmetr|negative|\bwords\b|difference|time|trace|gain"
    r"|falls?\b|vectors|basis|amplitude|eigenvalue|σ|window|medians",
    re.IGNORECASE,
)


def missing_of_place(claim, quantities=()):
    """Return what of paper, place, data and quantity a claim does not say of a published figure."""
    theory = claim.where.startswith("theory: ")
    said = {
        "paper": theory or "{cite:t}`" in claim.where,
        "figure, table or section": PLACE.search(claim.where),
        "data": theory or DATA.search(claim.where),
        "quantity": QUANTITY.search(" ".join([claim.says, claim.where, *quantities])),
    }
    return [what for what, found in said.items() if not found]


def test_every_published_figure_is_of_one_claim_that_says_where_it_stands():
    """Paper, figure or table or section, data and quantity; or that it is theory, or not known."""
    claims, entries = load_claims(LIST), load_published(LIST)
    for entry in entries:
        for result in RECORDED:
            # what a page records without a published figure may be of no claim; the page knows
            own = find_published(result, [entry]) and entry.kind
            assert not own or find_claim(result.name, claims)
    for c in claims:
        assert len(c.where) >= 30, f"{c.name}: say where it was published"
        words = [
            e.what for e in entries if any(fnmatchcase(f, g) for f in e.figures for g in c.figures)
        ]
        assert not missing_of_place(c, words), f"{c.name}: {c.where}"
        theory = any(source == "theory" for _, source in c.sources)
        assert theory == c.where.startswith("theory: "), f"{c.name}: its source is theory, or not"


@pytest.mark.parametrize(
    ("where", "missing"),
    [
        ("{cite:t}`a2020b`, Fig. 3: cosine of pairs, UNet, faces of 80×80", []),
        ("a paper of 2020, Fig. 3: cosine of pairs, faces of 80×80", ["paper"]),
        ("{cite:t}`a2020b`: cosine of pairs, UNet, faces of 80×80", ["figure, table or section"]),
        ("{cite:t}`a2020b`, Fig. 3: cosine of pairs, UNet of 80×80", ["data"]),
        ("{cite:t}`a2020b`, Fig. 3, UNet, faces of 80×80", ["quantity"]),
    ],
)
def test_a_place_without_paper_figure_data_or_quantity_is_noticed(where, missing):
    claim = Claim("c", "networks do it", ("a",), (("*", "ours"),), where)
    assert missing_of_place(claim) == missing


NEIGHBOUR = re.compile(
    r"\b(the same|ditto|as (?:above|before)|see above|the former|the latter|likewise|idem)\b"
    r"|^(?:and|also|of|for|its|their)\b",
    re.IGNORECASE,
)


def test_every_label_stands_alone():
    """A row may stand anywhere, so its words must not point at another row."""
    assert NEIGHBOUR.search("the same, of faces")
    assert NEIGHBOUR.search("of the network")
    said = [e.what for e in load_published(LIST)] + [what for *_, what in load_news(LIST)]
    said += [c.says for c in load_claims(LIST)]
    leaning = [what for what in said if NEIGHBOUR.search(what)]
    assert not leaning, f"these point at another row: {leaning}"
    assert len(set(said)) == len(said)


def test_no_two_figures_of_a_page_have_the_same_words():
    entries, seen = load_published(LIST), {}
    for result in RECORDED:
        entry = find_published(result, entries)
        if entry:
            words = result.page, describe(result.name, entry)
            seen.setdefault(words, []).append(result.name)
    alike = [names for names in seen.values() if len(names) > 1]
    assert not alike, f"these stand under the same words: {alike}"


def test_no_control_of_the_file_passes():
    """Where the published figure and the control stand in the file; the page does the others."""
    tried = 0
    for entry in load_published(LIST):
        if entry.control and isinstance(entry.control.value, int | float) and entry.kind:
            tried += 1
            compare(Result("p", entry.figures[0], entry.published), entry)
    wide = Published(("a",), "r", published=0.93, kind="paper", control=Control("mean", 0.9))
    with pytest.raises(ValueError, match="mean"):
        compare(Result("p", "a", 0.93), wide)
    controls = [entry.control for entry in load_published(LIST) if entry.control]
    assert len(controls) >= 10


def test_the_summary_reads_every_page():
    pages = {page.name: page for page in load_pages(ROOT)}
    missing = pages.keys() - {"16_reproduced", *pages["16_reproduced"].results}
    assert not missing, f"chapter 16 must read the results of {sorted(missing)}"


def test_a_page_has_a_heading():
    pages = {page.name: page for page in load_pages(ROOT)}
    assert page_heading(pages["16_reproduced"]) == "What reproduced"
    assert page_heading(pages["09_how_local_c_alpha"]) == "How local? C² images"
