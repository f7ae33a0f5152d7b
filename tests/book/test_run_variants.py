"""Batches: pages × parameters, each kept beside its page; tables over them; two sides compared."""

import csv
import io
import itertools
import json
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import make_notebook

from gahb_book import cli
from gahb_book.places import Places
from gahb_book.report.batches import (
    Tolerance,
    collect_spreads,
    compare,
    load_side,
    load_tolerances,
    summarize,
)
from gahb_book.run import load_pages, make_variant, parse_variants
from gahb_book.run.variants import make_label

NOISY = (
    "from gahb_book.record import record\n"
    "record('a.value', float((seed * 7919) % 10) + num)\nrecord('a.table', {'x': [num, seed]})"
)


@pytest.fixture
def batch(project):
    """The miniature project with a page that takes a seed."""
    text = make_notebook("# Noisy", NOISY, parameters="num = 1\nseed = 0\nprofile = 'laptop'")
    (project / "book" / "n.ipynb").write_text(text)
    with (project / "book" / "pages.yml").open("a") as file:
        file.write("  - {name: noisy, notebook: n.ipynb, records: [a.value, a.table]}\n")
    return project


def gahb(project, *words):
    return cli.main(["--root", str(project), *map(str, words)])


def test_a_batch_runs_every_combination_once_and_the_book_is_not_touched(batch, capfd):
    words = ["run", "noisy", "-p", "seed=0:3", "-p", "num=5", "--jobs", 1]
    assert gahb(batch, *words) == 0
    assert "pages: 3 ok" in capfd.readouterr().out
    places = Places(batch)
    for seed in range(3):
        name = f"noisy/num=5,seed={seed}"
        made = json.loads(places.results(name).read_text())
        assert made["a.value"]["value"] == (seed * 7919) % 10 + 5
        assert f"a.value = {(seed * 7919) % 10 + 5}" in places.executed(name).read_text()
    assert not places.executed("noisy").exists()
    places.results("noisy/num=5,seed=1").unlink()  # it goes on where it was broken off
    assert gahb(batch, *words[:2], "-p", "num=5", "-p", "seed=0:3", "--jobs", 1) == 0
    assert "pages: 1 ok, 2 unchanged" in capfd.readouterr().out

    assert gahb(batch, "results", "--csv") == 0
    rows = {r["name"]: r for r in csv.DictReader(io.StringIO(capfd.readouterr().out))}
    values = [float((seed * 7919) % 10) + 5 for seed in range(3)]
    row = rows["a.value"]
    assert (row["page"], row["variant"], row["num"]) == ("noisy", "num=5", "3")
    assert float(row["mean"]) == pytest.approx(statistics.mean(values), rel=1e-15)
    assert float(row["deviation"]) == pytest.approx(statistics.stdev(values), rel=1e-15)
    half = 4.302652729911275 * statistics.stdev(values) / math.sqrt(3)  # t of 2 degrees, tables
    assert float(row["high"]) - float(row["mean"]) == pytest.approx(half, rel=1e-9)
    assert rows["a.table[x][1]"]["mean"] == "1.0"

    notebook = batch / "book" / "n.ipynb"  # what was made from it counts no more
    notebook.write_text(notebook.read_text().replace("7919", "7907"))
    assert gahb(batch, "results") == 2
    said = capfd.readouterr().err
    assert "gahb: noisy/num=5,seed=1 is not counted: `gahb run` it again" in said
    assert said.endswith("gahb: no variant has run: begin with `gahb run PAGE -p seed=0:3`\n")


def test_sides_are_compared_within_stated_tolerances(batch, tmp_path, capsys):
    assert gahb(batch, "run", "noisy", "-p", "num=10,11", "--jobs", 1) == 0
    capsys.readouterr()
    assert gahb(batch, "compare", "num=10", "num=11") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["page", "figure", "num=10", "num=11", "difference", "allowed"]
    assert lines[1].split() == ["noisy", "a.table[x][0]", "10", "11", "1", "0.1", "beyond"]
    assert lines[-1] == "3 figures, 2 beyond their tolerances"
    assert gahb(batch, "compare", "num=10", "num=11", "--rtol", "0.1") == 0
    rules = tmp_path / "rules.yml"
    rules.write_text('"noisy/a.table*": {atol: 2}\n"*/a.value": {rtol: 0.05, atol: 0.5}\n')
    assert gahb(batch, "compare", "num=10", "num=11", "--tolerances", rules) == 0
    rules.write_text('"noisy/a.table*": {atol: 2}\n"*/a.value": {rtol: 0.05, atol: 0.4}\n')
    assert gahb(batch, "compare", "num=10", "num=11", "--tolerances", rules) == 1


def test_a_figure_that_one_side_lacks_is_beyond():
    a, b = {("p", "x"): 1.0, ("p", "y"): 2.0, ("q", "z"): 3.0}, {("p", "x"): 1.0, ("p", "w"): 1.0}
    rows = compare(a, b, [Tolerance("*", 10.0, 10.0)])
    assert [(r.name, r.beyond) for r in rows] == [("x", False), ("y", True), ("w", True)]


def test_what_is_not_a_number_is_beyond():
    (row,) = compare({("p", "x"): 1.0}, {("p", "x"): math.nan}, [Tolerance("*", 1.0, 1.0)])
    assert row.beyond


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["run", "noisy", "-p", "nun=1"], "parameters of page noisy/nun=1 must be of"),
        (["run", "-p", "seed=0"], "parameters of page a_one/seed=0 must be of"),
        (["run", "noisy", "-p", "seed"], "-p must be name=values, such as seed=0:5, not 'seed'"),
        (["run", "noisy", "-p", "seed="], "values must be at least one, not ''"),
        (["run", "noisy", "-p", "seed=5:0"], "a range must hold 1 … 10000 numbers, not '5:0'"),
        (["run", "noisy", "-p", "seed=[1"], "values must be a list such as 1,2 or 0:5, not '\\[1'"),
        (["run", "noisy", "-p", "seed=.nan"], None),
        (["run", "noisy", "-p", "seed=1", "-p", "seed=2"], "parameter seed must be given once"),
        (["run", "noisy", "-p", "profile=x"], "parameter profile must be set by --profile"),
        (["run", "noisy", "-p", "a=0:9999", "-p", "b=0:9"], "-p must give at most 10000 variants"),
        (["compare", "here", "there"], "'here' must be a folder of results or a variant"),
        (["results"], "no variant has run"),
        (["results", "nowhere"], "page 'nowhere' must be one of"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(batch, capsys, words, match):
    if match is None:  # text, as YAML 1.2's plain values have no .nan here
        assert parse_variants(words[-1:]) == [{"seed": ".nan"}]
        return
    assert gahb(batch, *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match=match):
        raise ValueError(error)
    assert not (batch / "_build" / "executed").exists() or not list(
        (batch / "_build" / "executed").iterdir()
    )


@pytest.mark.parametrize(
    "text", ["[1, 2]", "a: 1", "a: {rtol: -1}", "a: {tol: 1}", "a: {", "a: {rtol: x}"]
)
def test_tolerances_are_checked(tmp_path, text):
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match="must be {pattern: {rtol, atol}}, and is not"):
        load_tolerances(path, 0.01, 0.0)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"value": "x"}}', '{"a": {}}'])
def test_damaged_results_are_refused(project, tmp_path, text):
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / "p.json").write_text(text)
    with pytest.raises(ValueError, match=r"p\.json must hold recorded figures, and is damaged"):
        load_side(str(tmp_path / "side"), Places(project))


def test_a_damaged_variant_is_not_counted(batch):
    assert gahb(batch, "run", "noisy", "-p", "seed=1,2", "--jobs", 1) == 0
    places = Places(batch)
    places.executed("noisy/seed=1").write_text("{")
    spreads, stale = collect_spreads(places, [])
    assert stale == ["noisy/seed=1"]
    assert {row.num for row in spreads} == {1}


values = st.one_of(st.integers(), st.booleans(), st.text(max_size=200), st.floats(allow_nan=False))


@given(st.dictionaries(st.sampled_from(["seed", "num", "name"]), values, min_size=1))
def test_labels_are_names_of_files_and_differ(variant):
    label = make_label(variant)
    assert label == make_label(dict(reversed(variant.items())))
    assert not set(label) & set('/\\:<>|*?"\r\n')  # what uploads refuse too
    assert len(label) < 140
    for name in variant:
        assert make_label({**variant, name: "another"}) != label or variant[name] == "another"


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=9))
def test_the_interval_is_students(values):
    from scipy import stats

    mean, deviation, low, high = summarize(values)
    assert deviation == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)
    if deviation > 1e-6:
        wanted = stats.t.interval(0.95, len(values) - 1, mean, stats.sem(values))
        assert (low, high) == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_a_text_of_a_number_is_not_the_number():
    assert make_label({"seed": "1"}) != make_label({"seed": 1})
    assert make_label({"seed": "true"}) != make_label({"seed": True})


def test_every_combination_is_made():
    made = parse_variants(["a=0:3", "b=x,y", "c=[1, 2],[]"])
    wanted = itertools.product(range(3), "xy", ([1, 2], []))
    assert [tuple(v.values()) for v in made] == list(wanted)


def test_a_variant_is_made_anew_when_a_network_of_its_notebook_changes(project, monkeypatch):
    with (project / "book" / "pages.yml").open("a") as file:
        file.write("  - {name: other, notebook: a.ipynb, needs: {checkpoints: [disks]}}\n")
    pages = load_pages(project)
    made = make_variant(pages[0], {"num": 7}, pages)
    assert (made.checkpoints, made.also) == ((), ("disks",))
