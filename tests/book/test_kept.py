"""Kept values: what they depend on and what not, what is refused, damage, size, and the list."""

import json
import math
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from projects import ROOT, add_page

from gahb_book.cli import main
from gahb_book.kept import code, foot, keep
from gahb_book.kept.arguments import fingerprint
from gahb_book.kept.store import MOST_BYTES, MOST_IN_ALL, Store, slot_of, stores
from gahb_book.kept.uses import FRESH, VARIABLE, read_uses
from gahb_book.kept.values import differences, pack, unpack
from gahb_book.places import Places, book_path
from gahb_book.record import record
from gahb_book.report import kept as report
from gahb_book.site import stage_book
from gahb_core import bases, denoisers, metrics, training
from gahb_core.metrics import psnr
from gahb_core.metrics.frechet import fit_pca
from gahb_core.networks import UNet, initialize
from gahb_core.noise import add_noise, sample_normal

CALLS = []
LEVELS = [0.1, 0.2]


@keep
def measure(x, sigma=0.1):
    """Return x under noise, and how far that is."""
    y = add_noise(x, sigma, 0)
    return {"y": y, "psnr": metrics.psnr(y, x)}


@keep
def count(x):
    return x.sum() * 2


@keep
def use_count(x):
    return count(x) + 1


@pytest.fixture
def book(project, monkeypatch):
    """A miniature project; this process is in its book, as a page's kernel is."""
    monkeypatch.chdir(project / "book")
    monkeypatch.setattr("gahb_book.kept.uses._noted", [])
    return project


@pytest.fixture
def x():
    return torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)


def local_cards(project):
    return list(stores(project)[1].cards())


# --- what comes back ------------------------------------------------------------------------


def test_a_value_is_computed_once(book, x, monkeypatch):
    first = measure(x)
    monkeypatch.setattr("gahb_book.kept.decorate._compute", None)  # it would not be called
    again = measure(x, sigma=0.1)
    assert torch.equal(first["y"], again["y"])
    assert torch.equal(again["y"], add_noise(x, 0.1, 0))
    assert len(local_cards(book)) == 1


def test_what_comes_back_is_the_same_before_and_after(book):
    """The first time as every time: rounded to what is kept, without gradients."""

    @keep(bits=8)
    def ramp(n):
        return torch.linspace(-0.5, 2, n * n, dtype=torch.float64, requires_grad=True).reshape(
            1, n, n
        ), torch.rand(300)

    torch.manual_seed(0)
    (first, row), (second, same) = ramp(20), ramp(20)
    assert torch.equal(first, second)
    assert torch.equal(row, same)  # no picture: kept as it is
    assert (first.dtype, first.requires_grad) == (torch.float32, False)
    exact = torch.linspace(-0.5, 2, 400).reshape(1, 20, 20)
    assert float((first - exact).abs().max()) <= 2.5 / 255 / 2 + 1e-6
    assert (float(first.min()), float(first.max())) == (-0.5, 2)
    with pytest.raises(ValueError, match="8 bits must be finite"):
        pack(torch.full((1, 20, 20), math.inf), bits=8)


def test_every_kind_of_value_comes_back(x):
    value = {
        "named": fit_pca(torch.rand(9, 4, generator=torch.Generator().manual_seed(0)), 2),
        1: (None, True, -3, "σ", 0.1, math.inf),
        0.5: [np.arange(3), {}, ()],
        **{str(d): torch.zeros(2, 2).to(d) for d in (
            torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)},
        "strided": x[..., ::2],
        "scalar": torch.tensor(2.5),
    }  # fmt: skip
    back = unpack(pack(value))
    assert not differences(value, back, rtol=0, atol=0)
    assert type(back["named"]) is type(value["named"])
    assert list(back) == list(value)
    assert [back[str(d)].dtype for d in (torch.bool, torch.bfloat16)] == [
        torch.bool, torch.bfloat16,
    ]  # fmt: skip
    assert isinstance(back[0.5][0], np.ndarray)
    assert math.isnan(unpack(pack(math.nan)))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({1, 2}, "of type set"),
        (torch.zeros(2, dtype=torch.complex64), "dense and real, not .*complex64"),
        (torch.zeros(2, 2).to_sparse(), "dense and real, not .*sparse"),
        (object(), "of type object"),
    ],
)
def test_values_of_other_kinds_are_refused(value, match):
    with pytest.raises(ValueError, match=match):
        pack(value)


def test_a_tuple_that_a_notebook_defines_is_refused():
    from typing import NamedTuple

    class Pair(NamedTuple):
        a: int

    with pytest.raises(ValueError, match="not a Pair of a notebook: return a dict"):
        pack(Pair(1))
    with pytest.raises(ValueError, match="NamedTuple of the library, not subprocess.Popen"):
        unpack(pack(1)._replace(tree={"named": ["subprocess", "Popen", [["true"]]]}))


# --- what it depends on ---------------------------------------------------------------------


def made(*args, of=measure, **kwargs):
    return fingerprint(of.__kept__, args, kwargs).digest


def test_arguments_count_by_what_they_hold(x):
    same = made(x)
    assert made(x.clone(), sigma=0.1) == same
    assert made(x.contiguous(memory_format=torch.channels_last)) == same
    moved = x.clone()
    moved[0, 0, 0, 0] += 1e-7
    others = [moved, x.double(), x[0], x.numpy(), [x], (x,), {"x": x}]
    digests = {same, made(x, 0.2), *(made(other) for other in others)}
    assert len(digests) == 2 + len(others)
    assert made({"a": 1, "b": 2}) != made({"b": 2, "a": 1})  # loops go through them in order
    assert made(1) != made(True) != made(1.0)
    assert made(["ab", "c"]) != made(["a", "bc"])


def small_net(seed):
    return initialize(UNet(num_blocks=1, base=4), seed)


def test_networks_count_by_their_weights_and_settings(x):
    one, two = (small_net(0) for _ in range(2))
    same = made(one)
    assert made(two) == same
    with torch.no_grad():
        next(two.parameters()).add_(1e-3)
    assert made(two) != same
    assert made(one.train()) != made(one.eval())
    assert made(small_net(1)) != same
    digest = fingerprint(measure.__kept__, (denoisers.residual_denoiser(one),), {})
    assert digest.modules >= {"gahb_core.denoisers.contract", "gahb_core.networks.models"}


def test_denoisers_count_by_what_they_close_over(x):
    assert made(denoisers.empirical_denoiser(x)) == made(denoisers.empirical_denoiser(x.clone()))
    assert made(denoisers.empirical_denoiser(x)) != made(denoisers.empirical_denoiser(1 - x))
    assert made(bases.make_wavelet(8, "haar", 2)) != made(bases.make_wavelet(8, "haar", 1))
    assert made(psnr) != made(metrics.mse)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (lambda y: y, "and it is .*<lambda>"),
        (torch.Generator(), "of type Generator"),
        (ROOT, "not be a path"),
        (iter([1]), "of type list_iterator"),
        (count, "kept function count: call it"),
        (torch.zeros(2, 2).to_sparse(), "be a dense tensor"),
    ],
)
def test_arguments_that_do_not_say_what_they_are_are_refused(value, match):
    if getattr(value, "__name__", "") == "<lambda>":
        value.__module__ = "__main__"
    with pytest.raises(ValueError, match=f"argument x of measure must (?:.*){match}"):
        made(value)


def source_of(text):
    return code.find_kept(text)["f"]


def test_words_and_layout_of_a_function_do_not_count():
    same = source_of('@keep\ndef f(x):\n    """Say."""\n    return x + 1  # one\n')
    assert source_of('@keep(bits=8)\ndef f(x):\n    """Else."""\n    return (x +\n 1)\n') == same
    assert source_of("@keep\ndef f(x):\n    return x + 2\n") != same
    assert source_of("@keep\ndef f(x, y=1):\n    return x + 1\n") != same


def test_modules_are_found_with_their_imports():
    found = code.find_code(measure.__kept__).modules
    assert {"gahb_core.noise", "gahb_core.metrics.pairs", "gahb_core.checks"} <= set(found)
    assert not {"gahb_core.metrics", "gahb_core.sampling.ascent"} & set(found)
    assert "gahb_core.sampling.ascent" in code.close(["gahb_core.multiscale.cascade"])


def test_a_kept_function_counts_with_those_that_it_calls():
    assert code.find_code(use_count.__kept__).functions == ("count", "use_count")
    assert code.find_code(count.__kept__).functions == ("count",)


def test_what_a_kept_function_calls_is_not_kept_beside_it(book, x):
    assert float(use_count(x)) == float(2 * x.sum() + 1)
    assert [card.function for card in local_cards(book)] == ["use_count"]


def test_of_a_module_only_what_computes_counts(tmp_path, monkeypatch):
    before, real = code.find_code(measure.__kept__).digest, code.file_of
    copy = tmp_path / "pairs.py"
    text = real("gahb_core.metrics.pairs").read_text()
    found = {"gahb_core.metrics.pairs": copy}
    monkeypatch.setattr(code, "file_of", lambda name: found.get(name) or real(name))
    for changed, same in ((f"# words\n{text}", True), (f"{text}\nMORE = 1\n", False)):
        copy.write_text(changed)
        assert (code.find_code(measure.__kept__).digest == before) is same
    copy.write_text(text.replace('"""', '"""Truly: ', 1))
    assert code.find_code(measure.__kept__).digest == before


# --- what a function may not use ------------------------------------------------------------


def helper(x):
    return x


closing = denoisers.empirical_denoiser(torch.zeros(1, 1, 2, 2))


def uses_variable(x):
    return x * LEVELS[0]


def uses_function(x):
    return [helper(v) for v in x]


def uses_denoiser(x):
    return closing(x)


def sets_variable(x):
    global LEVELS
    LEVELS = x


def reads_file(x):
    return open(x).read()


def reads_book(x):
    return book_path(x)


def records(x):
    record("a.b", x)
    return (lambda: x)()


def loads(x):
    return training.load_denoiser(x)


def imports(x):
    import gahb_core.noise

    return gahb_core.noise.MANY * x


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (uses_variable, "LEVELS is a variable .*: pass it as an argument"),
        (uses_function, "helper is defined in the notebook: decorate it with @keep"),
        (uses_denoiser, "closing is a variable .*: pass it as an argument"),
        (sets_variable, "LEVELS is set by it: return it instead"),
        (reads_file, "open does more than compute"),
        (reads_book, "book_path does more than compute"),
        (records, "record does more than compute"),
        (loads, "training.load_denoiser does more than compute"),
        (imports, "gahb_core.noise is imported in it: import it above"),
    ],
)
def test_what_a_kept_function_may_not_use(book, function, match):
    with pytest.raises(ValueError, match=f"{function.__name__} is kept, so .*{match}"):
        keep(function)(1)


def test_what_is_not_defined_is_said(book):
    def wrong(x):
        return nowhere + x  # noqa: F821

    with pytest.raises(NameError, match="wrong uses nowhere, which is not defined"):
        keep(wrong)(1)


# --- damage, size, and two processes ---------------------------------------------------------


@pytest.mark.parametrize("end", ["*.json", "*.safetensors.xz"])
@pytest.mark.parametrize("how", ["cut", "changed", "empty", "gone"])
def test_damaged_values_are_computed_anew(book, x, end, how):
    first = measure(x)
    (path,) = (book / "_build" / "kept").glob(end)
    content = path.read_bytes()
    flipped = bytes([*content[:-7], content[-7] ^ 1, *content[-6:]])
    broken = {"cut": content[:-20], "changed": flipped, "empty": b""}
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(broken[how])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        again = measure(x)
    assert torch.equal(first["y"], again["y"])
    assert path.read_bytes() == content or end == "*.json"
    silent = end == "*.json" and how == "gone"  # then there is none
    assert [w for w in said if "computed anew" in str(w.message)] != [] or silent
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(x)  # whole again


def test_a_value_that_is_too_large_is_refused(book):
    @keep
    def large(n):
        return sample_normal((n,), 0)

    large(MOST_BYTES // 5)
    with pytest.raises(ValueError, match="value of large must be at most 500 kB"):
        large(MOST_BYTES // 3)


PROCESS = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_kept
x = torch.linspace(0, 1, 64).reshape(1, 1, 8, 8)
for _ in range(40):
    y = test_kept.measure(x)["y"]
    for path in (Path.cwd().parent / "_build" / "kept").glob("[!.]*.json"):
        path.unlink(missing_ok=True)
print(float(y.sum()))
"""


def test_two_processes_at_once(book, x):
    """Each removes what the other has just written: neither reads half of a value."""
    words = [sys.executable, "-W", "error", "-c", PROCESS.format(tests=str(ROOT / "tests/book"))]
    env = {"PATH": "", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert float(said[0]) == float(said[1]) == float(add_noise(x, 0.1, 0).sum())


# --- fresh, and what is noted ----------------------------------------------------------------


def test_fresh_computes_and_says_what_differs(book, x, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "notes.json"))
    measure(x)
    (before,) = read_uses(tmp_path / "notes.json")
    assert (before.state, before.differs) == ("computed", [])
    store = stores(book)[1]
    (card,) = store.cards()
    value = unpack(store.read(card))
    value["y"][0, 0, 0, 0] += 1
    wrong = pack(value)
    sha = code.hashlib.sha256(wrong.arrays).hexdigest()
    store.write(card._replace(arrays=sha, tree=wrong.tree), wrong)
    assert torch.equal(measure(x)["y"], value["y"])
    monkeypatch.setenv(FRESH, card.slot)
    assert torch.equal(measure(x)["y"], add_noise(x, 0.1, 0))
    (noted,) = read_uses(tmp_path / "notes.json")
    assert noted.slot == slot_of("measure", card.arguments)
    assert "value['y'] differs by up to 1 of" in noted.differs[0]


def test_what_has_to_be_the_same_may_be_a_part(book, x, monkeypatch, tmp_path):
    """Weights end elsewhere on another machine, and what they are good for does not."""
    ends = iter([1.0, 1.0, -1.0, -1.1])

    def train(x, seed):
        return {"weights": next(ends) * x}

    kept = keep(compare=lambda value: value["weights"].square().mean())(train)
    monkeypatch.setattr("gahb_book.kept.decorate._run", lambda f, args, kwargs: f(*args, **kwargs))
    monkeypatch.setattr("gahb_book.kept.decorate.find_code", lambda *_: code.Code((), (), "0" * 64))
    kept(x, 0)
    kept(x, 1)
    monkeypatch.setenv(FRESH, "all")
    said = []
    for seed, name in enumerate(("same", "other")):
        monkeypatch.setenv(VARIABLE, str(tmp_path / name))
        kept(x, seed)
        said.append(read_uses(tmp_path / name)[-1].differs)
    assert said[0] == []
    assert said[1][0].startswith("value differs by up to")


def test_half_precision_is_near_and_finite():
    x = torch.linspace(-2, 2, 1024).reshape(1, 1, 32, 32)
    back = unpack(pack([x, x[0, 0, 0], x.long()], 16))
    assert back[0].dtype == torch.float32
    assert 0 < float((back[0] / x - 1).abs().max()) < 2**-11
    assert torch.equal(back[1], x[0, 0, 0])  # figures stay as they are
    assert torch.equal(back[2], x.long())
    for wrong in (math.nan, 1e6):
        with pytest.raises(ValueError, match="16 bits"):
            pack(x * wrong, 16)


def test_differences_are_those_beyond_a_tolerance():
    a = {
        "a": torch.tensor([1.0, 100.0]),
        "b": [1.0, "s"],
        "c": torch.tensor([7], dtype=torch.uint8),
    }
    b = {
        "a": torch.tensor([1.5, 100.0]),
        "b": [1.009, "s"],
        "c": torch.tensor([8], dtype=torch.uint8),
    }
    assert differences(a, b, rtol=0.01, atol=0) == []
    assert len(differences(a, b, rtol=0.001, atol=0)) == 2
    assert differences([1], [1, 2], rtol=1, atol=1) == ["value has 2 items, and had 1"]
    assert differences(torch.zeros(2), torch.zeros(3), rtol=1, atol=1)
    assert differences(torch.tensor([math.nan]), torch.tensor([0.0]), rtol=1, atol=1)
    assert not differences(torch.tensor([math.inf]), torch.tensor([math.inf]), rtol=0, atol=0)


CELL = """
from gahb_book.kept import keep
from gahb_book.record import record
from gahb_core import noise
@keep
def draw(seed):
    return noise.sample_normal((4,), seed)
v = draw(SEED)
record("k.v", v.sum())
"""


def test_the_list_and_what_goes_into_the_book(book, monkeypatch, capsys):
    """Missing, current, stale, unused: and a value that stays keeps its bytes."""
    monkeypatch.delenv(FRESH, raising=False)
    add_page(book, "p", "# P", CELL.replace("SEED", "1"), records=["k.v"])
    places = Places(book)
    assert main(["--root", str(book), "run", "p"]) == 0
    assert [r.state for r in report.list_kept(places, ["p"])] == ["missing"]
    assert report.format_shipped(places).startswith("Nothing is kept")
    assert main(["--root", str(book), "kept", "--write"]) == 0
    (book / "book" / "index.md").write_text("# I\n\n<!-- kept values -->\n")
    table = (stage_book(places) / "book" / "index.md").read_text()
    assert re.search(r"^\| \{doc\}`p` \| `draw` 1 \| 0 s \| .*\|$", table, re.MULTILINE)
    assert "Together 1 values" in table
    assert [r.state for r in report.list_kept(places, ["p"])] == ["current"]
    files = {p.name: p.read_bytes() for p in (book / "book" / "kept").iterdir()}
    assert len(files) == 2
    assert report.write_kept(places, []) == []
    # the same by other words: the card alone is written anew
    notebook = book / "book" / "p.ipynb"
    notebook.write_text(notebook.read_text().replace("return noise", "a = 1; return noise"))
    assert [r.state for r in report.list_kept(places, ["p"])] == ["stale"]
    assert main(["--root", str(book), "run", "p"]) == 0
    (done,) = report.write_kept(places, [])
    assert done.endswith("same value, of changed code")
    after = {p.name: p.read_bytes() for p in (book / "book" / "kept").iterdir()}
    assert set(after) == set(files)
    assert [after[n] == files[n] for n in sorted(files, key=lambda n: n.endswith("json"))] == [
        True, False,
    ]  # fmt: skip
    # too large: nothing is written
    with monkeypatch.context() as small:
        small.setattr("gahb_book.report.kept.MOST_IN_ALL", 1)
        with pytest.raises(ValueError, match="at most 0 MB"):
            report.write_kept(places, [])
    assert {p.name: p.read_bytes() for p in (book / "book" / "kept").iterdir()} == after
    # another argument: the old one is used by no page any more
    notebook.write_text(notebook.read_text().replace("draw(1)", "draw(2)"))
    assert main(["--root", str(book), "run", "p"]) == 0
    assert [r.state for r in report.list_kept(places, ["p"])] == ["unused", "missing"]
    assert len(report.write_kept(places, ["p"])) == 2
    assert [r.state for r in report.list_kept(places, [])] == ["current"]
    capsys.readouterr()
    assert main(["--root", str(book), "run", "--fresh", "p"]) == 0
    assert "no kept value differs" in capsys.readouterr().out
    break_value(stores(book)[0])
    assert main(["--root", str(book), "run", "--fresh", "p"]) == 1
    assert "p: draw." in capsys.readouterr().out


def break_value(store: Store):
    (card,) = store.cards()
    wrong = pack(unpack(store.read(card)) + 1)
    sha = code.hashlib.sha256(wrong.arrays).hexdigest()
    store.write(card._replace(arrays=sha, tree=wrong.tree), wrong)


def test_kept_values_are_no_inputs_of_a_page(book):
    add_page(book, "p", "# P", CELL.replace("SEED", "1"), records=["k.v"])
    assert main(["--root", str(book), "run", "p"]) == 0
    assert main(["--root", str(book), "kept", "--write"]) == 0
    stamp = json.loads(Places(book).stamp("p").read_text())
    assert not [name for name in stamp["used"] if "kept/" in name and "library" not in name]
    assert [use["state"] for use in stamp["kept"]] == ["computed"]
    assert report.uses_of(next(p for p in report.load_pages(book) if p.name == "p"), Places(book))


# --- the foot of a figure --------------------------------------------------------------------


def test_a_figure_says_that_it_was_drawn_from_kept_values():
    served, made = {"measure"}, set()
    assert foot.follow("a = measure(x)", served, made)
    assert made == {"a"}
    assert not foot.follow("b = 1\nc, d = 2, 3", served, made)
    assert foot.follow("for i in a:\n    t[i] = i\n    u.append(i)", served, made)
    assert made == {"a", "i", "t", "u"}
    assert foot.follow("show_figure(u)", served, made)
    foot.follow("a = 2", served, made)
    assert not foot.follow("show_figure(a)", served, made)
    assert not foot.follow("@keep\ndef g(t):\n    return t", served, made)
    foot.follow("def h():\n    return t", served, made)
    assert foot.follow("plt.plot(h())", served, made)
    assert "gahb run --fresh 12_&lt;x&gt;" in foot.foot_html("12_<x>")


# --- the book's own --------------------------------------------------------------------------


def test_what_ships_is_small_and_whole():
    ship = stores(ROOT)[0]
    assert ship.size() <= MOST_IN_ALL
    cards = list(ship.cards())
    assert len(cards) == len(list(ship.folder.glob("*.json")))
    named = {ship.arrays_path(card.arrays) for card in cards if card.arrays}
    assert set(ship.folder.glob("*.safetensors.xz")) == named
    for card in cards:
        unpack(ship.read(card), place=False)
    assert all(p.stat().st_size <= MOST_BYTES + 2000 for p in ship.folder.glob("*.*"))


def test_what_ships_is_of_functions_that_the_notebooks_have():
    sources, cards = report.kept_sources(ROOT), list(stores(ROOT)[0].cards())
    gone = sorted({card.function for card in cards} - set(sources))
    assert not gone, f"no notebook has {gone}: run their pages, then `gahb kept --write`"
