"""A Sphinx extension: figures are numbered, and take the paragraph "Figure. ..." as their caption.

`show_figure` and `explore_flipbook` leave `<figure>` elements in the outputs of cells, pyplot
leaves images. What a figure shows is often written in the Markdown cell after it, or after a table
that belongs to both. There its formulas and references are those of the page; here the paragraph
moves into its `<figcaption>`.
"""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

PRINTED = nodes.container | nodes.literal_block | nodes.raw | nodes.table  # by cells
OPENING, CLOSING = "<figcaption", "</figcaption>"
BEFORE = '<figure class="gahb-figure"><div class="gahb-frames">'
AFTER = '</div><figcaption class="gahb-caption"></figcaption></figure>'


def _is_figure(node: nodes.Node) -> bool:
    if isinstance(node, nodes.raw):
        return 'class="gahb-figure' in node.astext()
    return isinstance(node, nodes.image) and "cell" in _part_of_page(node)["classes"]


def _part_of_page(node: nodes.Node) -> nodes.Element:
    """Return the cell or paragraph that `node` is in: its ancestor among a section's parts."""
    while not isinstance(node.parent, nodes.section | nodes.document):
        node = node.parent
    return node


def _bold_word(figure: nodes.Node) -> nodes.strong | None:
    """Return the "**Figure.**" that the first paragraph after a figure begins with, or None.

    What cells print between the two, and tables, are passed over; another figure is not.
    """
    after = figure
    into = False  # a cell: its outputs come next, and not what follows it
    while (after := after.next_node(descend=into, siblings=True, ascend=True)) is not None:
        into = isinstance(after, nodes.container) and "cell_input" not in after.get("classes", [])
        if isinstance(after, nodes.paragraph):
            first = next((child for child in after if child.astext().strip()), None)
            bold = isinstance(first, nodes.strong) and first.astext().startswith("Figure")
            return first if bold else None
        if not isinstance(after, PRINTED) or _is_figure(after):
            return None
    return None


def _add_number(html: str, label: str, otherwise: str = "") -> str:
    """Return the HTML of a figure with its label at the head of its caption.

    One without a caption gets `otherwise`, or, if it is one picture, what that says to those who
    do not see it: no number stands alone.
    """
    start = html.index(">", html.index(OPENING)) + 1
    bold = f'<span class="gahb-number">{label}</span>'
    if html[start:].startswith("<p>"):
        return f"{html[:start]}<p>{bold} {html[start + 3 :]}"
    said = [otherwise] if otherwise else re.findall(r'<img [^>]*?\balt="([^"]+)"', html)
    words = f" {said[0].rstrip('.')}." if len(said) == 1 else ""
    return f"{html[:start]}<p>{bold}{words}</p>{html[start:]}"


def _finish(figure: nodes.Node, label: str, word: nodes.strong | None, otherwise: str = "") -> None:
    """Put `label` before the figure's caption, and the paragraph of the bold word into it."""
    image = isinstance(figure, nodes.image)
    html = AFTER if image else figure.astext()
    end = html.rindex(CLOSING)
    if word is None:
        html = _add_number(html, label, otherwise)
        end, moved = html.rindex(CLOSING), []
    else:
        paragraph = word.parent
        paragraph.parent.remove(paragraph)
        if html[:end].endswith(">") and not html[:end].endswith("</p>"):  # no caption yet
            word.replace_self(nodes.strong("", label, classes=["gahb-number"]))
        else:
            html = _add_number(html, label)
            end = html.rindex(CLOSING)
            paragraph.remove(word)
        moved = [paragraph]
    head, tail = (nodes.raw("", text, format="html") for text in (html[:end], html[end:]))
    before = [nodes.raw("", BEFORE, format="html"), figure.deepcopy()] if image else []
    # in a box of its own, which takes the classes of the output
    figure.replace_self(nodes.container("", *before, head, *moved, tail))


def _speaks_for_two(words: list[nodes.strong | None], i: int) -> bool:
    """Return whether the caption of figure i is that of the one before as well: "**Figures.**"."""
    word = words[i]
    return word is not None and word.astext().startswith("Figures") and i > 0 and not words[i - 1]


class NumberFigures(SphinxPostTransform):
    """Numbers the figures of a page from 1, once the form of each output has been chosen."""

    default_priority = 6
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the page's tree."""
        figures = [node for node in self.document.findall() if _is_figure(node)]
        cells = [_part_of_page(figure) for figure in figures]
        # the last figure of a cell has the caption below it
        words = [
            None if cell in cells[i + 1 :] else _bold_word(figure)
            for i, (figure, cell) in enumerate(zip(figures, cells, strict=True))
        ]
        for i, (figure, word) in enumerate(zip(figures, words, strict=True)):
            label, otherwise = f"Figure {i + 1}.", ""
            if word is not None:
                label = word.astext().replace("Figure", f"Figure {i + 1}", 1)
                if _speaks_for_two(words, i):
                    label = word.astext().replace("Figures", f"Figures {i} and {i + 1}", 1)
            elif i + 1 < len(words) and _speaks_for_two(words, i + 1):
                otherwise = f"Explained together with Figure {i + 2}, below"
            _finish(figure, label, word, otherwise)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform with Sphinx."""
    app.add_post_transform(NumberFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
