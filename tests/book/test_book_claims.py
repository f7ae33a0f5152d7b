"""What the pages say of themselves: counts, places, and kinds of comparison that may not stand."""

import ast
import doctest
import fnmatch
import importlib.util
import json
import re

import pytest
from projects import ROOT

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


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tests/benchmarks/{name}.py")
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
