"""What the pages say of themselves: counts, places, and kinds of comparison that may not stand."""

import ast
import doctest
import fnmatch
import importlib.util
import json
import re

import pytest
from projects import ROOT

from gahb_book.places import Places
from gahb_book.report import load_seeds
from gahb_book.run import load_pages

BOOK = ROOT / "book"
SCRIPTS = (BOOK / "experiments", ROOT / "tests" / "benchmarks")
NOTEBOOKS = sorted(BOOK.glob("*.ipynb"))
# two sets of images under one network: what is subtracted is mostly how much easier one set is
OWN = {"train", "training", "seen", "own"}
NEW = {"test", "heldout", "held", "unseen", "new", "fresh"}
# (page, cell): why the difference of two sets may stand there
OTHER_IMAGES = {
    ("14_time", "651ccb13"): "points of one known law, drawn anew: neither set is the easier one",
}


def cells_of(path, kind):
    """Return (id, text) of the cells of a kind."""
    cells = json.loads(path.read_text())["cells"]
    return [(c["id"], "".join(c["source"])) for c in cells if c["cell_type"] == kind]


def section_of(text, heading):
    """Return what stands under a heading of a Markdown text."""
    return re.split(r"^## ", text.partition(f"## {heading}\n")[2], flags=re.MULTILINE)[0]


# --- counts and places ----------------------------------------------------------------------


def test_the_front_page_counts_the_networks_as_their_cards_do():
    cards = [json.loads(p.read_text()) for p in (BOOK / "checkpoints/laptop").rglob("*.card.json")]
    cards = [card["training"] for card in cards if not card["name"].startswith("seed=")]
    on_gpu = [card["seconds"] / 60 for card in cards if card["device"].startswith("cuda")]
    on_cpu = [card["seconds"] / 60 for card in cards if card["device"] == "cpu"]
    assert len(on_gpu) + len(on_cpu) == len(cards)
    scale = section_of((BOOK / "index.md").read_text(), "At what scale")
    said = (
        f"Of the {len(cards)} networks that ship, {len(on_cpu)} were trained on one CPU core",
        f"The other {len(on_gpu)} were trained on a GPU, in four to six minutes each",
    )
    for sentence in said:
        assert sentence in scale
    assert min(on_gpu) >= 3.5
    assert max(on_gpu) < 6.5
    assert "most of them in less than twenty minutes and the slowest in an hour" in scale
    assert sum(minutes < 20 for minutes in on_cpu) > len(on_cpu) / 2
    assert 50 < max(on_cpu) < 70


def test_the_front_page_counts_the_chapters_after_the_argument():
    text = section_of((BOOK / "index.md").read_text(), "The argument, chapter by chapter")
    words = {"Four": 4, "Five": 5, "Six": 6, "Seven": 7}
    count, rest = re.search(
        r"(\w+) chapters use the argument(.*?)\nBeside them", text, re.S
    ).groups()
    named = dict.fromkeys(re.findall(r"\{doc\}`(?:[^`<]*<)?(\d\d)_", rest))
    assert words[count] == len(named)


def test_sections_that_are_quoted_stand_in_their_pages():
    text = section_of((BOOK / "index.md").read_text(), "How much time do you have?")
    quoted = re.findall(r"\{doc\}`(\w+)`, up to and with \"([^\"]+?)[.,]?\"", text)
    assert len(quoted) == 2
    for page, heading in quoted:
        titles = [t for _, text in cells_of(BOOK / f"{page}.ipynb", "markdown") for t in
                  re.findall(r"^## (.+)$", text, re.MULTILINE)]  # fmt: skip
        assert heading in titles, f"{page} has no section {heading!r}"


def test_exercises_that_labs_hand_in_exist():
    text = (BOOK / "teaching.md").read_text()
    handed = re.findall(r"\*Hand in\.\*(.*?)\n\n", text, re.DOTALL)
    labels = [m for part in handed for m in re.findall(r"\{ref\}`[^`<]+<([^`>]+)>`", part)]
    assert len(labels) == len(handed) == 3
    known = {
        label
        for path in NOTEBOOKS
        for _, cell in cells_of(path, "markdown")
        for label in re.findall(r"\{exercise\}[^\n]*\n:label: (\S+)", cell)
    }
    assert set(labels) <= known


def test_every_exercise_has_a_solution_and_every_solution_an_exercise():
    for path in NOTEBOOKS:
        text = "\n".join(text for _, text in cells_of(path, "markdown"))
        asked = re.findall(r"\{exercise\}[^\n]*\n:label: (\S+)", text)
        solved = re.findall(r"\{solution(?:-start)?\} (\S+)", text)
        assert sorted(asked) == sorted(solved), f"{path.stem}: {set(asked) ^ set(solved)}"


def read_by_pages():
    """Return (notebook, file) for every file of book/measured that a notebook reads.

    What an f-string fills in stands for anything.
    """
    files = {file.name for file in (BOOK / "measured").glob("*.json")}
    found = set()
    for path in NOTEBOOKS:
        code = "\n".join(text for _, text in cells_of(path, "code"))
        for name in re.findall(r"measured/([\w.{}()]+?\.json)", code):
            pattern = re.sub(r"\{[^}]*\}", "*", name)
            found |= {(path.stem, f) for f in fnmatch.filter(files, pattern)} or {(path.stem, name)}
    return found


def test_what_is_stored_and_not_computed_is_listed():
    text = section_of(
        (BOOK / "reproducibility.md").read_text(), "What a run computes, and what it reads"
    )
    rows = re.findall(
        r"^\| \{doc\}`(\w+)` \| `([\w.]+)` \| [^|]+ \| `([\w.]+)` \| [^|]+ \|$", text, re.MULTILINE
    )
    notebook_of = {path.stem: path.stem for path in NOTEBOOKS}
    listed = {(notebook_of.get(page, page.rpartition("_")[0]), file) for page, file, _ in rows}
    assert listed == read_by_pages(), "list page, file, script and time in reproducibility.md"
    for _, file, script in rows:
        assert (BOOK / "measured" / file).is_file()
        (path,) = [f / script for f in SCRIPTS if (f / script).is_file()]
        code = path.read_text()
        stem = file.removesuffix(".json")
        assert stem in code or "_".join(stem.split("_")[:2]) in code, f"{script} writes no {file}"


def test_letters_with_several_meanings_are_listed():
    text = (BOOK / "notation.md").read_text().partition("(two-meanings)=")[2]
    letters = re.findall(r"^\| \$?(\w)\$? \|", text.partition("\n## ")[0], re.MULTILINE)
    assert {"k", "d", "h", "t", "a", "n"} <= set(letters)
    assert len(letters) == len(set(letters))


# --- train minus test -----------------------------------------------------------------------


def names_in(node):
    """Return the words of the names, attributes and strings of an expression."""
    words = set()
    for part in ast.walk(node):
        text = getattr(part, "id", None) or getattr(part, "attr", None)
        text = text or (getattr(part, "value", None) if isinstance(part, ast.Constant) else None)
        words |= set(re.split(r"[^a-z]+", text.lower())) if isinstance(text, str) else set()
    return words


def differences_of_sets(code):
    """Return the subtractions of a figure of images seen and one of images not seen."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            left, right = names_in(node.left), names_in(node.right)
            if (left & OWN and right & NEW) or (left & NEW and right & OWN):
                found.append(ast.get_source_segment(code, node))
    return found


def test_no_page_subtracts_test_images_from_training_images():
    """How much a network remembers is A minus B on the same images and the same noise.

    On two sets of images the difference is mostly that one of them is easier. Use
    `metrics.paired_difference(f_a, f_b, x, sigmas)`; or say in `OTHER_IMAGES` why not.
    """
    found = {}
    for path in NOTEBOOKS:
        for cell, code in cells_of(path, "code"):
            for text in differences_of_sets(code):
                found.setdefault((path.stem, cell), []).append(text)
    new = {place: texts for place, texts in found.items() if place not in OTHER_IMAGES}
    assert not new, f"two sets of images are compared: {new}"
    stale = OTHER_IMAGES.keys() - found.keys()
    assert not stale, f"nothing is subtracted there any more: take {stale} out of OTHER_IMAGES"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("gap = curves['train'][n] - curves['test'][n]", 1),
        ("gap = psnr_seen.mean() - torch.cat(new).mean()", 1),
        ("memory = psnr_a - psnr_b", 0),
        ("x_train - x_hat", 0),
        ("num_test - 1", 0),
    ],
)
def test_a_difference_of_sets_is_noticed(code, expected):
    assert len(differences_of_sets(code)) == expected


# --- numbers of the prose -------------------------------------------------------------------


def load_script(name, folder="tests/benchmarks"):
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_numbers_of_the_prose_are_looked_up():
    script = load_script("prose_numbers")
    assert doctest.testmod(script).failed == 0
    code = {"cell_type": "code", "source": ["s = 0.15"], "outputs": [{"text": ["psnr = 28.437\n"]}]}
    prose = {
        "cell_type": "markdown",
        "id": "it",
        "source": ["So 28.4 dB at σ = .15, 28.2 dB here, and .07 of it ($0.3$; 92.6% of 12.75)."],
    }
    count, finds = script.scan("p", [code, prose], [0.926, 12.7])
    assert count == 6
    assert [(f.number, f.near) for f in finds] == [("28.2", 28.437), (".07", None), ("12.75", 12.7)]


# What a page says with a decimal and neither records nor prints, near a figure that it does: page →
# number → where it comes from. Everything else that is near a figure and is not it has moved.
SAID = {
    "01_tweedie": {"2.1": "the number of a section"},
    "03_transition*": {"0.577": "Euler's constant"},
    "06_c_alpha": {"6.6": "measured/literal.json: 6.62 dB for α = 4 at 20 dB"},
    "09_how_local*": {
        "1.0": "the page of faces",
        "1.7": "the page of C² images",
        "1.9": "the page of the authors' networks",
        "5.7": "half a diagonal of nine: 4√2",
    },
    "11_inverse*": {
        "0.39": "100/255, in the network's card",
        "0.90": "the nominal level of a set",
        "1.8": "10 log₁₀(2/(1 + 1/3))",
    },
    "12_transformer": {"0.226": "7 of 31 lines"},
    "14_claims": {"1.4": "a noise level of the kept ascents", "2607.08041": "a preprint"},
    "15_densities": {"1.26": "10^0.1", "48.6": "published, ImageNet64"},
    "your_own_network": {"2.7": "parameters of a network, in millions"},
    "training": {
        "0.77": "the gap of chapter 6 over 16 images, before it took 48 (CHANGELOG)",
        "22.25": "a search whose runs were not kept",
        "22.56": "a search whose runs were not kept",
        "28.1": "a search whose runs were not kept",
        "34.0": "a search whose runs were not kept",
        "34.1": "a search whose runs were not kept",
    },
}


def moved(page, finds):
    """Return the numbers of the prose near a figure of the page, and neither it nor in `SAID`."""
    known = {n for p, said in SAID.items() if fnmatch.fnmatch(page, p) for n in said}
    return [f for f in finds if f.near is not None and f.number not in known]


def test_a_number_of_the_prose_that_moved_is_noticed():
    script = load_script("prose_numbers")
    prose = {"cell_type": "markdown", "id": "it", "source": ["It is 0.77 dB, section 2.1."]}
    _, finds = script.scan("01_tweedie", [prose], [0.74, 2.0])
    assert [f.number for f in moved("01_tweedie", finds)] == ["0.77"]
    _, finds = script.scan("01_tweedie", [prose], [0.77, 2.0])
    assert not moved("01_tweedie", finds)


@pytest.mark.pages
@pytest.mark.parametrize("page", [page.name for page in load_pages(ROOT)])
def test_numbers_of_the_prose_are_those_of_the_page(executed_pages, page):
    """A decimal within a tenth of a recorded figure is that figure, or is in `SAID`."""
    if not Places(ROOT).results(page).is_file():
        pytest.skip(f"{page} was not run: its data or checkpoints are not here")
    _, finds = load_script("prose_numbers").scan_page(ROOT, page)
    wrong = [f"{f.number}, recorded {f.near:.5g}: … {f.around} …" for f in moved(page, finds)]
    assert not wrong, "\n".join(wrong)


# --- what carries the claims is recorded ------------------------------------------------------

CARRIED = (
    "memory.a_minus_b.garments",
    "memory.a_minus_b.faces",
    "inverse.exact.coverage.fixed.gaussian.*",
    "inverse.exact.coverage.ramp.gaussian.*",
    "inverse.exact.coverage.fixed.mixture.*",
    "inverse.exact.coverage.ramp.mixture.*",
    "theory.samples.r.gaussian.*",
    "theory.samples.r.mean.*",
    "theory.overlap_at_trace.els.*",
    "theory.overlap_at_trace.linear.*",
    "theory.overlap_at_trace.transformer.*",
    "time.own_slope",
    *(f"reproduced.{n}.{s}" for n in ("claims", "yes", "partly", "no")
      for s in ("ours", "authors", "other")),
    "seeds.trainings.*",
)  # fmt: skip


@pytest.mark.parametrize("figure", CARRIED)
def test_what_carries_a_claim_is_recorded_within_a_range(figure):
    """The page tests hold what is listed here against what each page records."""
    found = [
        (page.name, name)
        for page in load_pages(ROOT)
        for name in page.records
        if fnmatch.fnmatchcase(name, figure) and name in page.ranges
    ]
    assert found, f"no page lists {figure} with a range in book/pages.yml"


# --- other seeds ------------------------------------------------------------------------------


def uncovered(pages, measured, *reasons):
    """Return the pages that neither the file of seeds has nor a list with its reason."""
    said = {page for listed in reasons for page, why in listed.items() if len(why) >= 20}
    return [page for page in pages if page not in measured and page not in said]


def test_every_page_that_draws_is_run_with_other_seeds_or_says_why_not():
    script = load_script("seeds", "book/experiments")
    pages = [page.name for page in load_pages(ROOT)]
    measured = load_seeds(BOOK / "measured" / "seeds.json")
    lists = script.WITHOUT, script.NOT_YET, script.IN_PART
    assert not uncovered(pages, measured, *lists), "run book/experiments/seeds.py, or say why not"
    assert set().union(*lists) <= set(pages)
    assert not script.WITHOUT.keys() & measured.keys()
    for page in script.WITHOUT.keys() - {"training"}:
        code = "\n".join(text for _, text in cells_of(BOOK / f"{page}.ipynb", "code"))
        assert not re.search(r"make_generator|add_noise|sample_normal|seed=seed", code), page
    assert uncovered(
        ["a", "b", "c", "d"], {"a": {}}, {"b": "a reason of twenty letters"}, {"c": ""}
    ) == [
        "c",
        "d",
    ]
