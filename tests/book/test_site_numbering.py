"""The figures of a page: numbered in order, each with its caption inside."""

import re

import pytest
from docutils import nodes
from docutils.core import publish_from_doctree
from docutils.utils import new_document

from gahb_book.site.numbering import NumberFigures
from gahb_book.widgets.page import figure_html

NUMBER = '<strong class="gahb-number">Figure {}.</strong>'


def cell(*outputs):
    return nodes.container("", nodes.container("", *outputs), classes=["cell"])


def figure(caption=None):
    html = figure_html("<img>", caption)
    return nodes.raw("", html, format="html", classes=["output", "text_html"])


def said(word, rest):
    return nodes.paragraph("", "", nodes.Text(""), nodes.strong("", word), nodes.Text(rest))


def page_of(*parts):
    document = new_document("page")
    document += nodes.section("", *parts)
    transform = NumberFigures.__new__(NumberFigures)
    transform.document = document
    transform.run()
    return document


def html_of(document):
    """The body of a page, written by docutils, without space between its elements."""
    made = publish_from_doctree(document, writer_name="html5").decode()
    body = made.split("<section>")[1].split("</section>")[0]
    return re.sub(r">\s+<", "><", body.replace("\n", ""))


def captions(document):
    pieces = html_of(document).split("<figcaption")[1:]
    return [piece.split("</figcaption>")[0].split(">", 1)[1] for piece in pieces]


def test_a_figure_takes_the_paragraph_that_follows_it():
    page = page_of(cell(figure()), said("Figure.", " One."), nodes.paragraph("", "Text."))
    assert captions(page) == [f"<p>{NUMBER.format(1)} One.</p>"]
    assert "</figcaption></figure></div></div></div><p>Text.</p>" in html_of(page)


def test_a_caption_of_its_own_comes_first():
    page = page_of(cell(figure("Explore.")), said("Figure.", " Move it."))
    number = NUMBER.format(1).replace("strong", "span")
    assert captions(page) == [f"<p>{number} Explore.</p><p> Move it.</p>"]


def test_figures_count_on_and_two_may_share_a_paragraph():
    page = page_of(
        cell(figure("A.")),
        cell(figure(), figure()),
        said("Figures.", " Both."),
        nodes.paragraph("", "", nodes.strong("", "Figure."), nodes.Text(" Of nothing.")),
    )
    assert "Figure 1." in captions(page)[0]
    number = '<span class="gahb-number">Figure 2.</span>'
    assert captions(page)[1] == f"<p>{number} Explained together with Figure 3, below.</p>"
    assert captions(page)[2] == f"<p>{NUMBER.replace('re {}', 'res 2 and 3')} Both.</p>"
    assert html_of(page).rstrip().endswith("<p><strong>Figure.</strong> Of nothing.</p>")


def test_no_number_stands_alone():
    html = figure_html('<img class="x" alt="A cat &amp; a dog.">', None)
    page = page_of(cell(nodes.raw("", html, format="html")), nodes.paragraph("", "Text."))
    number = '<span class="gahb-number">Figure 1.</span>'
    assert captions(page) == [f"<p>{number} A cat &amp; a dog.</p>"]


@pytest.mark.parametrize("word", ["Figure.", "Figure and table."])
def test_a_picture_of_pyplot_is_a_figure_too(word):
    page = page_of(cell(nodes.image(uri="a.png", alt="a curve")), said(word, " One."))
    label = NUMBER.replace("Figure {}.", word.replace("Figure", "Figure 1"))
    assert captions(page) == [f"<p>{label} One.</p>"]
    assert '<figure class="gahb-figure"><div class="gahb-frames"><img' in html_of(page)


def test_a_caption_may_stand_behind_what_cells_print():
    """Behind text and a table, and not behind a paragraph, a heading or another figure."""
    text, table = nodes.literal_block("", "gap 3"), nodes.table("", nodes.tgroup())
    word = "Figure and table."
    page = page_of(cell(figure(), text), cell(table), said(word, " One."))
    label = NUMBER.replace("Figure {}.", "Figure 1 and table.")
    assert captions(page) == [f"<p>{label} One.</p>"]
    page = page_of(cell(figure(), text.deepcopy()), cell(table.deepcopy(), said(word, " One.")))
    assert captions(page) == [f"<p>{label} One.</p>"]  # of one output
    between = [nodes.paragraph("", "Text."), nodes.section("", nodes.title("", "Next"))]
    for part in between:
        page = page_of(cell(figure()), part, cell(text.deepcopy()), said("Figure.", " Two."))
        assert "Two" not in captions(page)[0]
    page = page_of(cell(figure()), cell(figure()), said("Figure.", " Two."))
    assert ["Two" in caption for caption in captions(page)] == [False, True]


def test_a_picture_of_the_text_is_none():
    page = page_of(nodes.paragraph("", "", nodes.image(uri="a.png")), said("Figure.", " One."))
    assert captions(page) == []


def test_a_caption_may_come_from_code():
    """By the cell of the figure, after it, or by the next one, whose code is not its beginning."""
    code = nodes.container("", nodes.literal_block("", "x"), classes=["cell_input"])
    out = nodes.container(
        "", nodes.container("", said("Figure.", " Two.")), classes=["cell_output"]
    )
    page = page_of(
        cell(figure(), nodes.container("", said("Figure.", " One."))),
        cell(figure()),
        nodes.container("", code, out, classes=["cell"]),
        cell(figure()),
        nodes.container("", code.deepcopy(), classes=["cell"]),
    )
    number = NUMBER.replace("strong", "span").format(3)
    assert captions(page) == [
        f"<p>{NUMBER.format(1)} One.</p>",
        f"<p>{NUMBER.format(2)} Two.</p>",
        f"<p>{number}</p>",
    ]
