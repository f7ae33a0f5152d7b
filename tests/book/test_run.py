"""The pipeline of pages, on a miniature project."""

import json
import operator
import pickle
import signal
import subprocess
import sys

import nbformat
import numpy as np
import pytest
import torch
import yaml
from projects import make_notebook

from gahb_book import cli
from gahb_book.cluster import submit_jobs
from gahb_book.cluster.tickets import JobState
from gahb_book.places import Places, find_root
from gahb_book.record import KINDS, mark_published, record
from gahb_book.report import Result, collect_results, load_results
from gahb_book.run import (
    Page,
    format_report,
    load_pages,
    page_fingerprint,
    run_pages,
    run_processes,
    select_pages,
)
from gahb_book.run.execute import execute_page
from gahb_book.run.missing import make_note_page
from gahb_book.run.outcomes import Outcome
from gahb_book.run.stamp import is_current
from gahb_book.site import build_book, make_contents, stage_book
from gahb_book.site.book import _drop_records, _fill_parameters, _own_labels
from gahb_core import data
from gahb_core.files import write_safely


def statuses(outcomes):
    return {o.page: o.status for o in outcomes}


def add_page(project, name, *cells, needs="{}", parameters=None):
    """Add a notebook and its page to the miniature project."""
    (project / "book" / f"{name}.ipynb").write_text(make_notebook(*cells, parameters=parameters))
    with (project / "book" / "pages.yml").open("a") as file:
        file.write(f"  - {{name: {name}, notebook: {name}.ipynb, needs: {needs}}}\n")


# --- recorded figures -----------------------------------------------------------------------


def test_record_keeps_and_merges(tmp_path, monkeypatch, capsys):
    path = tmp_path / "deep" / "r.json"
    monkeypatch.setenv("GAHB_RESULTS", str(path))
    record("a.slope", torch.tensor(0.5), published=0.61, kind="computed")
    record("a.curve", {"train": np.array([1.0, 2.0]), "n": 3}, published="Fig. 2", kind="figure")
    record("a.slope", 0.25)
    assert json.loads(path.read_text()) == {
        "a.slope": {"value": 0.25},
        "a.curve": {
            "value": {"train": [1.0, 2.0], "n": 3},
            "published": "Fig. 2",
            "kind": "figure",
        },
    }
    assert list(path.parent.iterdir()) == [path]  # nothing half-written is left
    assert "a.slope = 0.5  (published: 0.61 [C])" in capsys.readouterr().out


def test_record_by_hand_only_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("GAHB_RESULTS", raising=False)
    monkeypatch.chdir(tmp_path)
    record("a.slope", 1)
    assert capsys.readouterr().out == "a.slope = 1\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (float("nan"), "value of a.b must be finite, not nan"),
        ([1.0, float("inf")], r"value of a.b\[1\] must be finite"),
        ({"k": "x"}, r"value of a.b\['k'\] must be a number.*not 'x'"),
        (True, "must be a number, or a list or dict of numbers, not True"),
        (None, "must be a number.*not None"),
        (1j, "must be a number"),
    ],
)
def test_record_rejects(tmp_path, monkeypatch, value, match):
    monkeypatch.setenv("GAHB_RESULTS", str(tmp_path / "r.json"))
    with pytest.raises(ValueError, match=match):
        record("a.b", value)
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize("kind", [None, "read", "P"])
def test_a_published_figure_says_how_it_is_known(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("GAHB_RESULTS", str(tmp_path / "r.json"))
    with pytest.raises(ValueError, match="kind must be one of paper, code, computed, figure"):
        record("a.b", 1, published=2, kind=kind)
    assert not (tmp_path / "r.json").exists()
    assert [mark_published(0.5, k) for k in KINDS] == [f"0.5 [{m}]" for m in "PKCFT"]


@pytest.mark.parametrize("name", ["", "A.b", "a b", "a..b", "a."])
def test_record_rejects_names(name):
    with pytest.raises(ValueError, match="name must be lower-case words joined by dots"):
        record(name, 1.0)


def test_results_are_read_back(project):
    path = Places(project).results("a_one")
    write_safely(path, json.dumps({"a.b": {"value": 2, "published": 3, "kind": "paper"}}))
    row = Result("a_one", "a.b", 2, 3, "paper")
    assert load_results("a_one", root=project) == {"a.b": row}
    assert collect_results(root=project) == [row]
    with pytest.raises(FileNotFoundError, match="run it with `gahb run a_five`"):
        load_results("a_five", root=project)


# --- what a page is -------------------------------------------------------------------------


def test_records_are_listed_with_braces(project):
    listing = project / "book" / "pages.yml"
    text = listing.read_text()
    listing.write_text(text.replace("[a.twice]", '["a.twice", "a.{x,y}.{1,2}"]'))
    names = ("a.twice", "a.x.1", "a.x.2", "a.y.1", "a.y.2")
    assert load_pages(project)[0].records == names
    listing.write_text(text.replace("[a.twice]", '["a.{x"]'))
    with pytest.raises(ValueError, match=r"braces in book/pages.yml must be closed, not 'a.\{x'"):
        load_pages(project)


def test_ranges_stand_beside_the_records(project):
    listing = project / "book" / "pages.yml"
    text = listing.read_text()
    listing.write_text(text.replace("[a.twice]", '["a.twice": [1, 2.5], "a.{x,y}": [-1, 0], a.z]'))
    page = load_pages(project)[0]
    assert page.records == ("a.twice", "a.x", "a.y", "a.z")
    assert page.ranges == {"a.twice": (1, 2.5), "a.x": (-1, 0), "a.y": (-1, 0)}


@pytest.mark.parametrize(
    ("records", "match"),
    [
        ("[a.x, 'a.{x,y}': [0, 1]]", "page b: records must list a.x once"),
        ("[a.x: [1, 0]]", r"page b: a.x must be in \[low, high\], not \[1, 0\]"),
        ("[a.x: [1]]", "page b: records.0"),
        ("[a.x: 1]", "page b: records.0"),
        ("[{a.x: [0, 1], a.y: [0, 1]}]", "page b: records.0"),
    ],
)
def test_records_are_checked(project, records, match):
    with (project / "book" / "pages.yml").open("a") as file:
        file.write(f"  - {{name: b, notebook: a.ipynb, records: {records}}}\n")
    with pytest.raises(ValueError, match=match):
        load_pages(project)


def test_contents_follow_the_pages(project):
    pages = load_pages(project)
    with pytest.raises(ValueError, match="the first page of book/pages.yml must have a part"):
        make_contents(pages)
    names = ("01_a", "01_a_faces", "01_b", "02_c", "training")
    made = [Page(name, pages[0].notebook) for name in names]
    made[0] = made[0]._replace(part="I. One")
    made[4] = made[4]._replace(part="Reference")
    found = yaml.safe_load(make_contents(made, ("notes",)))
    inner = [{"file": "book/01_a_faces"}, {"file": "book/01_b"}]
    first = [{"file": "book/01_a", "sections": inner}, {"file": "book/02_c"}]
    back = [{"file": "book/training"}, {"file": "book/notes"}]
    assert found["parts"] == [
        {"caption": "I. One", "numbered": 1, "chapters": first},
        {"caption": "Reference", "chapters": back},
    ]


def test_gahb_toc_writes_the_contents(project, capsys):
    listing = project / "book" / "pages.yml"
    listing.write_text(listing.read_text().replace("{name: a_one,", "{name: a_one, part: All,"))
    assert cli.main(["--root", str(project), "toc"]) == 0
    path = project / "_toc.yml"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text() == make_contents(load_pages(project))


def test_pages_are_listed(project):
    one, five = load_pages(project)
    assert (one.name, one.parameters, one.records) == ("a_one", {}, ("a.twice",))
    assert (five.parameters, five.title) == ({"num": 5}, "With five")
    assert select_pages([one, five], ["a_f"]) == [five]
    assert select_pages([one, five], []) == [one, five]


def test_a_beginning_selects_all_that_match_and_a_whole_name_one(project):
    add_page(project, "a_fiv", "1")
    names = [[p.name for p in select_pages(load_pages(project), [n])] for n in ("a_", "a_fiv")]
    assert names == [["a_one", "a_five", "a_fiv"], ["a_fiv"]]
    with pytest.raises(ValueError, match="page 'b' must be one of: a_one, a_five, a_fiv"):
        select_pages(load_pages(project), ["b"])


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("{name: a_one, notebook: a.ipynb}", r"must be unique, not repeated: \['a_one'\]"),
        ("{name: b}", "book/pages.yml, page b: must contain .'notebook'. properties"),
        ("{name: b, notebook: b.ipynb}", "page b: notebook .*b.ipynb does not exist"),
        (
            "{name: b, notebook: a.ipynb, colour: 1}",
            "page b: must not contain .'colour'. properties",
        ),
        (
            "{name: b, notebook: a.ipynb, needs: {tea: [x]}}",
            "page b: needs: must not contain .'tea'. properties",
        ),
        ("{name: b, notebook: a.ipynb, needs: {results: [c]}}", r"unknown pages \['c'\]"),
        (
            "{name: b, notebook: a.ipynb, needs: {data: faces}}",
            "page b: needs.data: must be array, not 'faces'",
        ),
        ("{name: ../../evil, notebook: a.ipynb}", "page ../../evil: name: must match .*evil"),
        ("{name: run, notebook: a.ipynb}", "page run: name: must match"),
        ("{name: b, notebook: ../a.ipynb}", "page b: notebook: must match"),
        ("{name: b, name: c, notebook: a.ipynb}", "line 4: must be YAML: key 'name' stands twice"),
        (
            "{name: b, notebook: a.ipynb, parameters: [1]}",
            "page b: parameters: must be object, not .1.",
        ),
        ("{name: b, notebook: a.ipynb, parameters: {1a: 1}}", "page b: parameters: "),
        ("{name: b, notebook: a.ipynb, title: 3}", "page b: title: must be string, not 3"),
        ("{name: b,\tnotebook: [}", "line 4: must be YAML"),
        ("b", "page 3: must be object, not 'b'"),
        ("7", "page 3: must be object, not 7"),
    ],
)
def test_pages_are_checked(project, line, match):
    with (project / "book" / "pages.yml").open("a") as file:
        file.write(f"  - {line}\n")
    with pytest.raises(ValueError, match=match):
        load_pages(project)


@pytest.mark.parametrize("text", ["", "pages", "pages: 1", "pages: []\nmore: 1", "- a", "\x00"])
def test_a_listing_that_is_none_is_refused(project, text):
    (project / "book" / "pages.yml").write_text(text)
    with pytest.raises(ValueError, match=r"book.pages.yml.*: "):
        load_pages(project)


def test_values_are_what_they_look_like(project):
    values = "{a: 1e-3, b: on, c: 2026-11-25, d: 010, e: -3, f: true, g: null, h: .5, i: 1:30}"
    with (project / "book" / "pages.yml").open("a") as file:
        file.write(f"  - {{name: b, notebook: a.ipynb, parameters: {values}}}\n")
    assert load_pages(project)[2].parameters == {
        "a": 0.001, "b": "on", "c": "2026-11-25", "d": "010", "e": -3, "f": True, "g": None,
        "h": 0.5, "i": "1:30",
    }  # fmt: skip


def test_root_is_found_from_within(project):
    assert find_root(project / "book") == project.resolve()


def test_a_root_that_is_given_is_not_replaced_by_the_installed_one(tmp_path):
    with pytest.raises(ValueError, match="root must be a folder, and .*place is none"):
        find_root(tmp_path / "no" / "such" / "place")
    with pytest.raises(ValueError, match=f"no book/pages.yml at or above {tmp_path}"):
        find_root(tmp_path)


def test_fingerprint_follows_every_input(project):
    places = Places(project)
    seen = {page_fingerprint(page, places, []) for page in load_pages(project)}
    assert len(seen) == 2  # parameters

    def is_new(text_of, change):
        text_of.parent.mkdir(parents=True, exist_ok=True)
        text_of.write_text(change)
        value = page_fingerprint(page, places, ["book/measured/times.json"])
        new = value not in seen
        seen.add(value)
        return new

    page = load_pages(project)[0]._replace(checkpoints=("set/N=1/A",), results=("a_five",))
    weights = project / "book" / "checkpoints" / "laptop" / "set" / "N=1"
    assert is_new(page.notebook, make_notebook("# other", "import gahb_core.noise"))
    assert is_new(project / "requirements.txt", "torch==0\n")
    assert is_new(project / "book" / "measured" / "times.json", "{}")
    assert is_new(project / "book" / "measured" / "times.json", "{1}")
    assert not is_new(weights / "A.safetensors", "weights without their card")
    assert is_new(weights / "A.card.json", "card")
    assert is_new(weights / "A.safetensors", "other weights")
    assert is_new(places.results("a_five"), "{}")
    assert not is_new(weights / "AB.safetensors", "of another checkpoint")
    assert not is_new(project / "book" / "index.md", "prose")


# --- running --------------------------------------------------------------------------------


def test_pages_run_once_and_are_then_skipped(project):
    places, said = Places(project), []
    first = run_pages(places, [], num_jobs=2, say=said.append)
    assert statuses(first) == {"a_one": "ok", "a_five": "ok"}
    assert load_results("a_five", root=project)["a.twice"].value == 10
    assert "  a_one: started" in said
    left = {p.name for p in (places.build / "executed").iterdir()}
    assert left == {f"a_{n}.{kind}" for n in ("one", "five") for kind in ("ipynb", "hash", "json")}

    before = places.executed("a_one").stat().st_mtime_ns
    assert set(statuses(run_pages(places, [])).values()) == {"unchanged"}
    assert places.executed("a_one").stat().st_mtime_ns == before

    stage = stage_book(places)  # here, for it takes executed pages
    five = nbformat.read(stage / "book" / "a_five.ipynb", 4)
    assert five.cells[0].source == "# With five"
    assert "papermill" not in json.dumps(five)
    for name, own in (("a_five", "num = 5"), ("a_one", "num = 1")):  # each shows its own
        cells = nbformat.read(stage / "book" / f"{name}.ipynb", 4).cells
        by_tag = {t: cell for cell in cells for t in cell.metadata.get("tags", [])}
        assert own in by_tag["parameters"].source
        assert "remove-cell" in by_tag["injected-parameters"].metadata.tags


def test_parameters_are_shown_as_the_page_was_run():
    source = '# é\nnums: list = [\n    1,\n]  # N\nseed = 0\nα = "é"; name = "ü"  # two\n'
    shown = _fill_parameters(source, {"nums": [10], "name": "b", "other": 1})
    assert shown == "# é\nnums: list = [10]  # N\nseed = 0\nα = \"é\"; name = 'b'  # two\n"


def test_kernel_is_this_python_whatever_is_installed(project, tmp_path, monkeypatch):
    spec = tmp_path / "other" / "kernels" / "python3" / "kernel.json"
    argv = ["no-such-python", "{connection_file}"]
    write_safely(spec, json.dumps({"argv": argv, "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "other"))
    code = "import os, sys\nprint(sys.executable, os.getcwd(), os.environ['GAHB_RESULTS'])"
    add_page(project, "b", "# B", code)
    (outcome,) = run_pages(Places(project), ["b"])
    assert outcome.status == "ok", outcome
    printed = nbformat.read(Places(project).executed("b"), 4).cells[1].outputs[0].text.split()
    assert printed[0] == sys.executable
    assert printed[1] == str(project / "book")
    assert printed[2].startswith(str(project / "_build" / "results"))


def test_a_failure_stops_no_other_page(project):
    add_page(project, "bad", "# Bad", "1 / 0")
    add_page(project, "sum", "# Sum", "2", needs="{results: [bad, a_one]}")
    places = Places(project)
    write_safely(places.executed("bad"), "stale")
    outcomes = run_pages(places, ["bad", "sum"])
    assert statuses(outcomes) == {"bad": "failed", "sum": "ok"}
    assert outcomes[0].detail == "cell 2: ZeroDivisionError: division by zero"
    assert not places.executed("bad").exists()
    assert places.failed("bad").is_file()
    assert "ZeroDivisionError" in places.failed("bad").read_text()
    report = format_report(outcomes, places)
    assert "mend it, then `gahb run bad`" in report
    assert report.endswith("pages: 1 ok, 0 unchanged, 0 not run, 1 failed")


def test_a_parameter_the_notebook_lacks_fails_its_page(project):
    pages = project / "book" / "pages.yml"
    pages.write_text(pages.read_text().replace("num: 5", "nun: 5"))
    (outcome,) = run_pages(Places(project), ["a_five"])
    assert outcome.status == "failed"
    assert "parameters of page a_five must be of ['num', 'profile'], not ['nun']" in outcome.detail


def test_a_page_without_its_data_is_kept_with_a_note(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path / "nothing"))
    add_page(project, "b", "# B", "1 / 0", needs="{data: [faces]}")
    add_page(project, "c", "# C", "1 / 0", needs="{checkpoints: [fashion/N=1/A]}")
    places = Places(project)
    outcomes = run_pages(places, ["b", "c"])
    assert statuses(outcomes) == {"b": "not run", "c": "not run"}
    with pytest.raises(data.MissingData) as missing:
        data.locate("faces")
    assert outcomes[0].detail == str(missing.value)
    assert "gahb train fashion/N=1/A --profile laptop" in outcomes[1].detail
    add_page(project, "d", "# D", "1 / 0", needs="{checkpoints: [celeba/N=1/A]}")
    here, other = (run_pages(Places(project, p), ["d"])[0] for p in ("laptop", "paper"))
    assert here.status == other.status == "not run"
    assert "profile laptop has no network 'celeba/N=1/A'" in here.detail
    assert "gahb train celeba/N=1/A --profile paper" in other.detail
    copy = nbformat.read(places.executed("b"), 4)
    nbformat.validate(copy)
    assert [cell.cell_type for cell in copy.cells] == ["markdown", "markdown", "code"]
    assert str(missing.value) in copy.cells[1].source
    assert copy.cells[2].outputs == []
    assert statuses(run_pages(places, ["b"])) == {"b": "not run"}


def test_a_page_without_its_file_says_where_it_was_looked_for(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    add_page(project, "b", "# B", "1", needs="{files: [published/net.pt]}")
    places = Places(project)
    (outcome,) = run_pages(places, ["b"])
    assert outcome.status == "not run"
    assert f"the file published/net.pt is not in {tmp_path}" in outcome.detail
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "net.pt").touch()
    assert statuses(run_pages(places, ["b"])) == {"b": "ok"}


def test_note_page_keeps_no_output(tmp_path):
    content = json.loads(make_notebook("# T", "1"))
    content["cells"][1] |= {"outputs": [{"output_type": "error"}], "execution_count": 3}
    content["metadata"]["widgets"] = {"state": {}}
    (tmp_path / "n.ipynb").write_text(json.dumps(content))
    made = json.loads(make_note_page(tmp_path / "n.ipynb", "why"))
    assert made["cells"][2]["outputs"] == []
    assert made["cells"][2]["execution_count"] is None
    assert "widgets" not in made["metadata"]


def test_report_counts_every_outcome(project):
    kinds = ["ok", "ok", "unchanged", "not run"]
    outcomes = [Outcome(f"p{i}", kind, 1.0, "why") for i, kind in enumerate(kinds)]
    report = format_report(outcomes, Places(project))
    assert report.endswith("pages: 2 ok, 1 unchanged, 1 not run, 0 failed")
    assert "p3 was not run: why" in report


# --- jobs -----------------------------------------------------------------------------------


def test_processes_report_their_lines_and_codes():
    def python(code):
        return [sys.executable, "-c", code]

    commands = {"a": python("print(1)"), "b": python("raise SystemExit(3)"), "c": ["no-such-file"]}
    events = list(run_processes(commands, 2, {}))
    assert {e.name: e.code for e in events if e.kind == "end"} == {"a": 0, "b": 3, "c": 127}
    assert [e.text for e in events if e.kind == "line" and e.name == "a"] == ["1"]
    with pytest.raises(ValueError, match="num_jobs must be at least 1, not 0"):
        list(run_processes(commands, 0, {}))


def test_leaving_early_ends_the_processes():
    wait = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    for event in run_processes({"a": wait, "b": wait}, 1, {}):
        if event.kind == "line":
            break
    # a pool that waited for them would not have come here for two minutes
    assert event.text == "up"


def test_job_array_through_submitit(tmp_path):
    jobs = submit_jobs(operator.add, [(1, 2), (3, 4)], tmp_path, "local", timeout_min=2)
    assert [job.result() for job in jobs] == [3, 7]


def test_a_page_runs_as_a_job(project):
    places = Places(project)
    page = load_pages(project)[1]
    (job,) = submit_jobs(execute_page, [(page, places)], project / "jobs", "local", timeout_min=5)
    assert job.exception() is None
    assert is_current(page, places)
    assert load_results("a_five", root=project)["a.twice"].value == 10


def test_pages_run_as_a_job_array(project, monkeypatch):
    """The cluster is replaced by this process; what it is asked to call is not."""

    def here(function, arguments, folder, cluster, say, **options):
        assert (cluster, options) == ("slurm", {"timeout_min": 5})
        for name, words in arguments.items():
            pickle.loads(pickle.dumps(function))(*words)
            yield name, JobState("done")

    monkeypatch.setattr("gahb_book.run.pages.run_on_cluster", here)
    (outcome,) = run_pages(Places(project), ["a_five"], executor="slurm", timeout=60, timeout_min=5)
    assert outcome.status == "ok"


def test_a_preempted_job_is_submitted_again_with_its_arguments():
    from gahb_book.cluster.jobs import _Requeued

    again = _Requeued(operator.add).checkpoint(1, 2)
    assert again.result() == 3


@pytest.mark.parametrize(
    ("code", "end"), [(-signal.SIGTERM, SystemExit), (1, subprocess.CalledProcessError)]
)
def test_a_preempted_job_ends_with_its_requeue_and_hears_of_one_refused(code, end):
    from gahb_book.cluster.jobs import _Requeued

    def answer(*_):
        raise subprocess.CalledProcessError(code, ["scontrol", "requeue"])

    before = signal.signal(signal.SIGUSR2, answer)
    try:
        with pytest.raises(end):
            _Requeued(signal.raise_signal)(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_slurm_needs_its_command(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="executor slurm needs the command sbatch"):
        submit_jobs(operator.add, [(1, 2)], tmp_path)


# --- the book -------------------------------------------------------------------------------


def test_what_was_recorded_is_not_among_the_figures():
    said = "a.b = 0.5  (published: 0.4 [P])\nthe largest: x.y = 3\nc.d_e.1 = 1, 2\n"
    cell = {"outputs": [{"name": "stdout", "text": [said]}], "metadata": {"tags": ["hide-output"]}}
    _drop_records(cell)
    assert cell["outputs"] == [{"name": "stdout", "text": "the largest: x.y = 3\n"}]
    assert cell["metadata"]["tags"] == ["hide-output"]
    cell["outputs"][0]["text"] = "a.b = 0.5\n"
    _drop_records(cell)
    assert cell == {"outputs": [], "metadata": {"tags": []}}


def test_stage_holds_the_book_and_nothing_else(project):
    places = Places(project)
    write_safely(places.build / "stage" / "book" / "gone.md", "old")
    write_safely(project / "book" / "checkpoints" / "laptop" / "x.safetensors", "weights")
    stage = stage_book(places)
    names = {p.relative_to(stage).as_posix() for p in stage.rglob("*") if p.is_file()}
    assert names == {
        "_config.yml", "_toc.yml", "book/index.md", "book/pages.yml",
        "book/a_one.ipynb", "book/a_five.ipynb",
    }  # fmt: skip
    assert "no results yet: run `gahb run a_one`" in (stage / "book" / "a_one.ipynb").read_text()


def test_book_is_built_once_and_a_warning_is_an_error(project, capfd, monkeypatch):
    places = Places(project)
    index = build_book(places)
    assert index == project / "_build" / "html" / "index.html"
    page = (project / "_build" / "html" / "book" / "a_one.html").read_text()
    assert "This page was not run here" in page
    capfd.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("gahb_book.site.book.stage_book", None)  # it would not be called: it is slow
        assert build_book(places) == index
    assert capfd.readouterr().out == "the HTML is up to date\n"

    (project / "book" / "index.md").write_text("# Contents\n\n{ref}`nowhere`\n")
    for _ in range(2):  # a second build must not forget the warning of the first
        with pytest.raises(RuntimeError, match="warnings or errors"):
            build_book(places)
        assert "undefined label: 'nowhere'" in capfd.readouterr().err


def test_a_notebook_that_is_two_pages_has_labels_of_its_own(tmp_path):
    text = "```{exercise}\n:label: one-half\n```\n```{solution} one-half\n```\none-half-more"
    content = {"cells": [{"cell_type": "markdown", "source": text}]}
    first = Page("chapter", tmp_path / "chapter.ipynb")
    second = Page("again", tmp_path / "chapter.ipynb")
    assert _own_labels(content, first) == content
    changed = _own_labels(content, second)["cells"][0]["source"]
    assert ":label: again-one-half\n" in changed
    assert "{solution} again-one-half\n" in changed
    assert changed.endswith("\none-half-more")


def test_the_start_says_how_long_what_is_kept_and_where_to_look(project):
    from gahb_book.run.outcomes import Outcome, forecast, write_outcome

    places, pages = Places(project), load_pages(project)
    said = forecast(pages, places, 2)
    assert "about 10 s (2 of them for the first time here), 2 at once; 0 values" in said
    write_outcome(Outcome("a_one", "ok", 300.0, "", 500.0), places)
    (project / "book" / "kept").mkdir()
    (project / "book" / "kept" / "f.0.json").write_text("{}")
    said = forecast(pages, places, 2)
    assert "about 4 minutes (1 of them for the first time here), 2 at once; 1 values" in said
    assert str(places.executed("*")) in said
    places.html.mkdir(parents=True)
    (places.html / "index.html").write_text("")
    assert "index.html (as it was built last)" in forecast(pages, places, 1)
