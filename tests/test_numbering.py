"""The figures of a page: numbered in order, each with its caption inside."""

import pytest
from docutils import nodes
from docutils.utils import new_document

from gahb_core.pages.numbering import NumberFigures
from gahb_core.widgets.page import figure_html


def cell(*outputs):
    return nodes.container("", nodes.container("", *outputs), classes=["cell"])


def figure(caption=None):
    return nodes.raw("", figure_html("<img>", caption), format="html")


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
    """The text of a page in order: raw HTML as it is, paragraphs in <p>."""

    def show(node):
        if isinstance(node, nodes.raw):
            return node.astext()
        inner = "".join(map(show, node.children)) if node.children else node.astext()
        return f"<p>{inner}</p>" if isinstance(node, nodes.paragraph) else inner

    return show(document)


def captions(document):
    pieces = html_of(document).split("<figcaption")[1:]
    return [piece.split("</figcaption>")[0].split(">", 1)[1] for piece in pieces]


def test_a_figure_takes_the_paragraph_that_follows_it():
    page = page_of(cell(figure()), said("Figure.", " One."), nodes.paragraph("", "Text."))
    assert captions(page) == ["<p>Figure 1. One.</p>"]
    assert html_of(page).endswith("</figcaption></figure><p>Text.</p>")


def test_a_caption_of_its_own_comes_first():
    page = page_of(cell(figure("Explore.")), said("Figure.", " Move it."))
    number = '<span class="gahb-number">Figure 1.</span>'
    assert captions(page) == [f"<p>{number} Explore.</p><p> Move it.</p>"]


def test_figures_count_on_and_two_may_share_a_paragraph():
    page = page_of(
        cell(figure("A.")),
        cell(figure(), figure()),
        said("Figures.", " Both."),
        nodes.paragraph("", "", nodes.strong("", "Figure."), nodes.Text(" Of nothing.")),
    )
    assert "Figure 1." in captions(page)[0]
    assert captions(page)[1] == '<p><span class="gahb-number">Figure 2.</span></p>'
    assert captions(page)[2] == "<p>Figures 2 and 3. Both.</p>"
    assert html_of(page).endswith("<p>Figure. Of nothing.</p>")


@pytest.mark.parametrize("word", ["Figure.", "Figure and table."])
def test_a_picture_of_pyplot_is_a_figure_too(word):
    page = page_of(cell(nodes.image(uri="a.png", alt="a curve")), said(word, " One."))
    assert captions(page) == [f"<p>{word.replace('Figure', 'Figure 1')} One.</p>"]
    assert html_of(page).startswith('<figure class="gahb-figure">')


def test_a_picture_of_the_text_is_none():
    page = page_of(nodes.paragraph("", "", nodes.image(uri="a.png")), said("Figure.", " One."))
    assert captions(page) == []
