"""The prose of the book: predictions first, terms said at first use, one word for one thing."""

import ast
import json
import re

import pytest
from projects import ROOT

from gahb_book.run import load_pages
from gahb_book.site.contents import chapter_number

BOOK = ROOT / "book"
TEXTS = sorted([*BOOK.glob("*.ipynb"), *BOOK.glob("*.md")])
FIRSTS = {}  # number of a chapter → its first notebook, which is not a variant
for _page in load_pages(ROOT):
    FIRSTS.setdefault(chapter_number(_page.name), _page.notebook)
TEMPLATE = BOOK / "_templates" / "chapter.ipynb"  # keeps what it shows a writer to keep
CHAPTERS = [BOOK / path.name for number, path in FIRSTS.items() if number is not None]
# what stands in the text → its name in the glossary; these are linked where they first stand
TERMS = {
    "UNets?": "UNet",
    "BF-CNNs?": "BF-CNN",
    "Fréchet distances?": "Fréchet distance",
    "Lanczos": "Lanczos",
    "memorizers?": "memorizer",
    "bias-free norms?": "bias-free norm",
    "[Bb]ias-free networks?": "bias-free network",
    "correlations?": "correlation",
    "cosine similarit(?:y|ies)": "cosine similarity",
    "ascents?": "ascent",
    "receptive fields?": "receptive field",
    "oracles?": "oracle",
    "PSNR": "PSNR",
    "SURE": "SURE",
    "MMSE": "MMSE",
    "model variance": "model variance",
    "principal angles?": "principal angles",
    "tangent planes?": "tangent plane",
    "geometry-adaptive harmonic bas[ie]s": "geometry-adaptive harmonic basis",
}
OTHER_SENSE = {("07_shuffled.ipynb", "correlation")}  # of two pixels, not of two images
# maths, code, roles, links, headings, marks of blocks, tables, and the question of a chapter
NO_PROSE = re.compile(
    r"```\{(?:code|math)[^\n]*\n.*?```|(?<!`)```\n.*?```|\$\$.*?\$\$|\$[^$]+?\$|\{[a-z:]+\}`[^`]*`"
    r"|`[^`\n]+`|\[[^\]]*\]\([^)]*\)|^#[^\n]*$|^:[^\n]*$|^\([^\n]*\)=$|^```[^\n]*$|^\|[^\n]*$"
    r"|\*\*[^*]+\?\*\*",
    re.DOTALL | re.MULTILINE,
)


def name_of(path):
    return path.name


def markdown_of(path):
    """Return the texts of a notebook's markdown cells, or a text whole."""
    if path.suffix == ".md":
        return [path.read_text()]
    cells = json.loads(path.read_text())["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]


def strings_of(path):
    """Return the strings in the code of a notebook; what an f-string fills in stands as Ⓜ."""
    found = []
    for cell in json.loads(path.read_text())["cells"] if path.suffix == ".ipynb" else []:
        if cell["cell_type"] != "code":
            continue
        inner = set()
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            if isinstance(node, ast.JoinedStr):
                inner |= {id(part) for value in node.values for part in ast.walk(value)}
                parts = [v.value if isinstance(v, ast.Constant) else "Ⓜ" for v in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [] if id(node) in inner else [node.value]
    return found


def unlinked(texts, pattern, term):
    """Return what stands about the first mention of a term, if no link is there or before."""
    link = re.compile(rf"\{{term\}}`(?:{re.escape(term)}|[^`<]*<{re.escape(term)}>)`")
    for text in texts:
        dead = [m.span() for m in NO_PROSE.finditer(text)]
        said = [
            m.start()
            for m in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", text)
            if not any(a <= m.start() < b for a, b in dead)
        ]
        linked = link.search(text)
        if linked and (not said or linked.start() < said[0]):
            return ""
        if said:
            return text[max(0, said[0] - 30) : said[0] + 30]
    return ""


@pytest.mark.parametrize("path", [*CHAPTERS, TEMPLATE], ids=name_of)
def test_a_chapter_asks_before_it_shows(path):
    """The question is put before a figure that answers it, and its answer is folded away."""
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(c["source"]) if c["cell_type"] == "markdown" else "" for c in cells]
    asked = re.compile(
        r"```\{admonition\} A prediction, before you look\n:class: tip\n[^`]*?\?[^`]*\n?```\n+"
        r"```\{admonition\} What comes out\n:class: dropdown\n.{40,}?\n```",
        re.DOTALL,
    )
    places = [
        i for i, text in enumerate(texts) if asked.search(re.sub(r"\{\w+\}`[^`]*`", "", text))
    ]
    assert places, "ask for a prediction, and hide the answer, as the template does"
    shows = next(i for i, text in enumerate(texts) if "## What this shows" in text)
    drawn = [i for i, c in enumerate(cells) if "fig" in "".join(c["source"]) and not texts[i]]
    assert any(places[0] < i < shows for i in drawn)


@pytest.mark.parametrize("path", [*sorted(BOOK.glob("*.ipynb")), TEMPLATE], ids=name_of)
def test_a_page_does_not_open_with_parameters_and_imports(path):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    first = next(i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", []))
    opening = [
        cells[first],
        *(c for c in cells[first + 1 :][:1] if "\nimport" in "".join(c["source"])),
    ]
    assert all("hide-input" in c["metadata"].get("tags", []) for c in opening), "fold them"


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=name_of)
def test_visible_code_is_the_idea_alone(path):
    """At most twelve lines a cell: bookkeeping is folded, or in the library."""
    folded = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
    long = {
        cell["id"]: len("".join(cell["source"]).splitlines())
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code" and not folded & set(cell["metadata"].get("tags", []))
    }
    long = {name: num for name, num in long.items() if num > 12}
    assert not long, f"split these, and tag the rest hide-input: {long}"


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix == ".ipynb"], ids=name_of)
def test_terms_are_linked_where_they_first_stand(path):
    texts = markdown_of(path)
    bare = {term: unlinked(texts, pattern, term) for pattern, term in TERMS.items()}
    bare = {t: near for t, near in bare.items() if near and (path.name, t) not in OTHER_SENSE}
    assert not bare, f"link these with {{term}} where they first stand: {bare}"


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_one_word_for_one_thing(path):
    text = " ".join([*markdown_of(path), *strings_of(path)])
    found = re.findall(r"\b(?:memoris\w*|generalis\w*|climb(?:s|ed|ing)?)\b", text, re.IGNORECASE)
    assert not found, f"memorizer, generalize and ascent are the words: {found}"


def test_bare_terms_would_be_found():
    assert unlinked(["## UNet\n`UNet` and $UNet$", "a UNet, then {term}`UNet`"], "UNets?", "UNet")
    assert not unlinked(["{term}`nets <UNet>` are UNets"], "UNets?", "UNet")
