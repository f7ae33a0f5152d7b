"""Faults injected at random places: what is damaged is refused in words, what is killed goes on.

`tests/benchmarks/faults.py` counts them into book/measured/faults.json.
"""

import contextlib
import json
import os
import random
import signal
import time
from dataclasses import replace

import pytest
import torch
from projects import make_notebook

from gahb_book.cluster.tickets import read_tickets
from gahb_book.places import Places
from gahb_book.report import load_results
from gahb_book.report.batches import read_results
from gahb_book.run.notebooks import read_notebook
from gahb_book.run.outcomes import read_outcome
from gahb_core import training
from gahb_core.training import RECIPES

NAME = "c_alpha/alpha=1"
RECIPE = replace(RECIPES["smoke"][NAME], num_steps=12)
KINDS = ("cut", "empty", "flipped", "foreign")
FOREIGN = [b"\x80\x04.", b"{1}", b"null", b"[]", b"\x00" * 64, b"PK\x03\x04", "ä".encode("latin1")]


def damage(content, kind, rng):
    """Return `content` cut, emptied, with one bit flipped, or something else."""
    if kind == "cut":
        return content[: rng.randrange(1, len(content) - 2)]
    if kind == "flipped":
        at = rng.randrange(len(content))
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    return b"" if kind == "empty" else rng.choice(FOREIGN)


def make_files(folder):
    """Return name → (path, reader, whether one flipped bit must be seen) of files of every kind."""
    os.environ["GAHB_CHECKPOINTS"] = str(folder)
    state = folder / "half.state"
    for progress in training.fit(RECIPE, state, save_seconds=0.0):
        training.save(progress.net, RECIPE, "smoke", {"seconds": 0})
    weights, card, _ = training.paths(NAME, "smoke")

    def load():
        return training.load(NAME, "smoke", RECIPE)

    def go_on():
        return list(training.fit(RECIPE, state))

    places = Places(folder)
    results, notebook = places.results("a"), folder / "a.ipynb"
    results.parent.mkdir(parents=True)
    results.write_text(json.dumps({"a.b": {"value": 1.5}, "a.c": {"value": [1, 2]}}))
    notebook.write_text(make_notebook("# A", "1", parameters="num = 1"))
    return {
        "weights": (weights, load, True),
        "card": (card, load, True),
        "state": (state, go_on, True),
        "results": (results, lambda: load_results("a", root=folder), False),
        "figures": (results, lambda: read_results(results, "a"), False),
        "notebook": (notebook, lambda: read_notebook(notebook), False),
    }


def inject(folder, num, rng):
    """Yield (file, kind, what became of it): "refused" with words, "used", or what it raised."""
    for name, (path, read, _) in make_files(folder).items():
        whole = path.read_bytes()
        for i in range(num):
            kind = KINDS[i % len(KINDS)]
            path.write_bytes(damage(whole, kind, rng))
            try:
                read()
                found = "used"
            except ValueError as error:
                found = "refused" if path.name.split(".")[0] in str(error) else repr(error)
            except Exception as error:
                found = repr(error)
            yield name, kind, found
        path.write_bytes(whole)
        read()  # the whole one is still good


def killed_training(state, seconds):
    """Train in a process that is killed after `seconds`; return whether it was."""
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            for _ in training.fit(RECIPE, state, save_seconds=0.0):
                pass
        os._exit(0)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def kill_and_go_on(folder, num, rng):
    """Yield whether a training killed again and again ends with the bits of an unbroken one."""
    *_, whole = training.fit(RECIPE)
    for i in range(num):
        state = folder / f"{i}.state"
        kills = sum(killed_training(state, rng.uniform(0.0, 0.4)) for _ in range(3))
        *_, last = training.fit(RECIPE, state)
        pairs = zip(whole.net.parameters(), last.net.parameters(), strict=True)
        same = (torch.equal(a, b) for a, b in pairs)
        yield kills, all(same)


@pytest.mark.parametrize("seed", [0])
def test_damaged_files_are_refused_in_words(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    rows = list(inject(tmp_path, 20, random.Random(seed)))
    assert len(rows) == 120
    for name, kind, found in rows:
        if kind != "flipped" or name in ("weights", "card", "state"):
            assert found == "refused", (name, kind, found)
        else:  # in a digit, one flipped bit makes another figure: the page's stamp tells that
            assert found in ("refused", "used"), (name, kind, found)


@pytest.mark.verify
def test_killed_trainings_end_with_the_same_bits(tmp_path):
    ends = list(kill_and_go_on(tmp_path, 4, random.Random(0)))
    assert sum(kills for kills, _ in ends) > 0
    assert all(same for _, same in ends)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_what_only_informs_is_left_out_when_damaged(tmp_path, content):
    places = Places(tmp_path)
    path = places.outcome("a")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert read_outcome("a", places) is None
    (tmp_path / "x.job.json").write_bytes(content)
    assert read_tickets(tmp_path) == []
