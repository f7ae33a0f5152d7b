"""A Sphinx extension: figures are numbered, and take the paragraph "Figure. ..." as their caption.

`show_figure` and `explore_flipbook` leave `<figure>` elements in the outputs of cells. What a
figure shows is often written in the Markdown cell after it, where its formulas and references are
those of the page; here the paragraph moves into the figure's `<figcaption>`.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

OPENING, CLOSING = "<figcaption ", "</figcaption>"


def _own_figures(node: nodes.Node) -> list[nodes.raw]:
    """Return the outputs within `node` that are figures."""
    return [raw for raw in node.findall(nodes.raw) if 'class="gahb-figure' in raw.astext()]


def _caption_after(cell: nodes.Node) -> nodes.paragraph | None:
    """Return the paragraph "**Figure.** ..." that directly follows `cell`, or None."""
    after = cell.next_node(descend=False, siblings=True)
    if isinstance(after, nodes.paragraph) and isinstance(after[0], nodes.strong):
        return after if after[0].astext().startswith("Figure") else None
    return None


def _outermost(raw: nodes.raw) -> nodes.Node:
    """Return the cell that an output belongs to: its ancestor among the parts of a section."""
    node: nodes.Node = raw
    while not isinstance(node.parent, nodes.section | nodes.document):
        node = node.parent
    return node


def _add_number(html: str, label: str) -> str:
    """Return the figure's HTML with its label at the head of its caption."""
    start = html.index(">", html.index(OPENING)) + 1
    bold = f'<span class="gahb-number">{label}</span> '
    inside = html[start:].startswith("<p>")
    if inside:
        return html[:start] + "<p>" + bold + html[start + 3 :]
    return f"{html[:start]}<p>{bold}</p>{html[start:]}"


def _move_caption(raw: nodes.raw, caption: nodes.paragraph, label: str) -> None:
    """Put the paragraph into the figcaption of the figure, its bold word replaced by `label`."""
    html = raw.astext()
    if html.rindex(CLOSING) == html.index(">", html.index(OPENING)) + 1:  # no caption of its own
        caption[0].replace_self(nodes.strong("", label, classes=["gahb-number"]))
    else:
        html = _add_number(html, label)
        caption.remove(caption[0])
    head, tail = html[: html.rindex(CLOSING)], html[html.rindex(CLOSING) :]
    caption.parent.remove(caption)
    parts = [nodes.raw("", head, format="html"), caption, nodes.raw("", tail, format="html")]
    raw.replace_self(parts)


class NumberFigures(SphinxPostTransform):
    """Numbers the figures of a page from 1, once the HTML of each output has been chosen."""

    default_priority = 6
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the page's tree."""
        before: list[str] = []  # the numbers of the figures since the last caption
        for number, raw in enumerate(_own_figures(self.document), 1):
            cell = _outermost(raw)
            caption = _caption_after(cell) if raw is _own_figures(cell)[-1] else None
            before.append(str(number))
            if caption is None:
                raw.replace_self(
                    nodes.raw("", _add_number(raw.astext(), f"Figure {number}."), format="html")
                )
                continue
            words = caption[0].astext()
            plural = words.startswith("Figures")
            numbers = " and ".join(before[-2:]) if plural else str(number)
            label = words.replace("Figures" if plural else "Figure", "", 1)
            _move_caption(raw, caption, f"{'Figures' if plural else 'Figure'} {numbers}{label}")
            before = []


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform with Sphinx."""
    app.add_post_transform(NumberFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
