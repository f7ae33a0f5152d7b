"""Scripts of book/experiments and tests/benchmarks start; none of them computes as it is loaded."""

import importlib.util
import sys
from pathlib import Path

import pytest

from gahb_book import measured

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (ROOT / "book" / "experiments", ROOT / "tests" / "benchmarks")
SCRIPTS = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))


@pytest.fixture
def own_modules(monkeypatch):
    """Scripts see their neighbours, as when they are run; what they load is forgotten again."""
    before = dict(sys.modules)
    for folder in FOLDERS:
        monkeypatch.syspath_prepend(folder)
    yield
    for name in set(sys.modules) - set(before):
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent in FOLDERS:
            del sys.modules[name]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_starts(path, own_modules):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main)
    assert f"python {path.relative_to(ROOT)}" in module.__doc__


def test_what_is_there_is_not_measured_again(tmp_path):
    path, calls = tmp_path / "m.json", []

    def measure(variant):
        calls.append(variant)
        if variant == 3:
            raise RuntimeError("broken off")
        return variant**2

    with pytest.raises(RuntimeError):
        measured.measure_missing(path, "figures", {"a": 2, "b": 3}, measure, unit="dB")
    assert measured.read(path) == {"unit": "dB", "figures": {"a": 4}}
    measured.measure_missing(path, "figures", {"a": 2, "c": 5}, measure, unit="dB")
    assert calls == [2, 3, 5]
    assert measured.read(path)["figures"] == {"a": 4, "c": 25}


def test_what_is_measured_lies_in_the_book():
    assert measured.FOLDER == ROOT / "book" / "measured"
    assert measured.FOLDER.is_dir()


def test_ranges_are_widened_to_hold_every_seed(own_modules):
    seeds = importlib.import_module("seeds")
    text = "  - name: p\n    records:\n      - a.{x,y}: [1, 2]  # why\n      - b: [0.1, 0.4]\n"
    found = {"p": {"a.x": [1.5, 2.53], "a.y": [{"k": 1.2}, {"k": 1.3}], "b": [0.2, 0.05]}}
    wider = seeds.widen_listing(text, found)
    assert "- a.{x,y}: [1, 2.7]  # why\n" in wider
    assert "- b: [0.015, 0.4]\n" in wider
    assert seeds.widen_listing(wider, found) == wider
    assert seeds.widen_listing(text, {"q": found["p"]}) == text
    assert seeds.widen(-0.1, 0, [-0.234]) == (-0.26, 0)
    assert seeds.widen(0, 1, [0.0, 1.0]) == (0, 1)
