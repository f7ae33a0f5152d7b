"""Any words on the command line are done, or refused in one line that begins with the command.

What would take long, leave this machine or stay up is replaced; all that reads the words is not.
"""

import math
import re
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gahb_book import cli
from gahb_book.run import pages
from gahb_book.run.outcomes import Outcome
from gahb_core import data, training
from gahb_core.training import authors

NUMBERS = ["1", "2", "0", "-1", "1.5", "1e3", "nan", "inf", "70000", "٣", "9" * 5000, "1_0"]
PARAMETERS = [
    "num=1", "num=0:3", "num=1,2,2", "num=3:3", "num=", "=1", "num", "num=[", "nope=1",
    "profile=smoke", "num={a: 1}", "num=.nan", "num=0:99999", "num=2020-01-01", "num='a b'",
    "num=[1, 2],[3]",
]  # fmt: skip
PLACES = [
    "", "a_one", "a_five", "a", "nothing", "*", "..", "/", "c_alpha/alpha=1", "local/*", "faces",
    "--",
]  # fmt: skip
WORDS = st.one_of(st.sampled_from([*NUMBERS, *PARAMETERS, *PLACES]), st.text(max_size=8))
OPTIONS = {
    "run": ["--jobs", "--force", "-p", "-p", "--timeout"],
    "train": ["--all", "--force", "--jobs", "--device"],
    "results": ["--csv"],
    "compare": ["--rtol", "--atol", "--tolerances", "--all", "--csv"],
    "fetch": ["--size"],
    "serve": ["--port"],
    **dict.fromkeys(("recipes", "status", "toc"), []),
}
ALONE = ("--all", "--force", "--csv")
CLUSTER = ["--executor", "--minutes", "--requeues", "--gpus", "--partition"]
CHOICES = {"--executor": ["slurm", "local"], "--profile": ["smoke", "gpu"], "--device": ["cpu"]}


@st.composite
def commands(draw):
    """A command with words in its places and options, each as it may be or of another kind."""
    name = draw(st.sampled_from(sorted(OPTIONS)))
    known = OPTIONS[name] + CLUSTER * (name in ("run", "train")) + ["--profile"]
    words = [name, *draw(st.lists(WORDS, max_size=2))]
    for option in draw(st.lists(st.sampled_from(known), max_size=3)):
        value = st.one_of(st.sampled_from(CHOICES.get(option, NUMBERS)), WORDS)
        value = st.sampled_from(PARAMETERS) if option == "-p" else value
        words += [option] if option in ALONE else [option, draw(value)]
    return words


@pytest.fixture
def harmless(project, monkeypatch):
    """The miniature project, and commands that only pretend to run, train, fetch and serve."""
    monkeypatch.setenv("PATH", str(project))  # no sbatch
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "checkpoints"))
    monkeypatch.setattr(
        pages, "_run_here", lambda pages, *_: (Outcome(page.name, "ok") for page in pages)
    )
    monkeypatch.setattr(cli, "run_processes", lambda *_: ())
    monkeypatch.setattr(training, "train", lambda *_: ())
    monkeypatch.setattr(data, "fetch", lambda *_: "there")
    monkeypatch.setattr(authors, "fetch_authors", lambda: "there")
    monkeypatch.setattr(cli, "serve_book", lambda *_: None)
    return project


def call(project, words, capsys):
    """Return the exit code and what was printed, held to what is true of any words."""
    shutil.rmtree(project / "_build", ignore_errors=True)
    try:
        code = cli.main(["--root", str(project), *words])
    except SystemExit as left:  # argparse has said what is wrong, or --help
        code = left.code
    printed, error = capsys.readouterr()
    assert code in (0, 1, 2), words
    assert "Traceback" not in printed + error, words
    if code == 2:
        last = error.removesuffix("\n").split("\n")[-1]
        assert re.match(r"gahb( \w+)?: ", last), (words, error)
        assert len(last) < 12_000, words
        assert error.startswith("usage: gahb") or error.count("\n") == 1, (words, error)
    return code, printed


ANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@ANY
@given(commands())
@example(["fetch", "--help"])
def test_a_command_is_done_or_refused_in_one_line(harmless, capsys, words):
    code, printed = call(harmless, words, capsys)
    if words[0] == "run" and code == 0 and "-h" not in words and "--help" not in words:
        counted = re.search(r"pages: (\d+) ok, 0 unchanged, 0 not run, 0 failed", printed)
        assert int(counted[1]) == count_asked(words), words


def count_asked(words):
    """Return how many pages a command names, by hand: pages × values of `-p num=…`."""
    places, options = [], []
    rest = iter(words[1:])
    for word in rest:
        if word == "--":
            places += rest
        elif word in ALONE:
            continue
        elif word.startswith("-"):
            options.append((word, next(rest)))
        else:
            places.append(word)
    every = ("a_one", "a_five")
    chosen = {p for w in places for p in ([w] if w in every else every) if p.startswith(w)}
    known = {"num=1": 1, "num=0:3": 3, "num=1,2,2": 2, "num='a b'": 1, "num={a: 1}": 1,
             "num=2020-01-01": 1, "num=[1, 2],[3]": 2}  # fmt: skip
    values = [known[value] for option, value in options if option == "-p"]
    return (len(chosen) if places else len(every)) * math.prod(values)


@ANY
@given(st.lists(st.one_of(WORDS, st.sampled_from([*OPTIONS, *CLUSTER, "--profile"])), max_size=5))
def test_any_words_are_done_or_refused_in_one_line(harmless, capsys, words):
    call(harmless, words, capsys)
