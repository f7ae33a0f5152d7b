"""What the flipbook and the live figure share, so that they look the same."""

import html
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import ipywidgets

from gahb_book.widgets.page import is_scale

Control = tuple[str, Sequence[Any]]
Choice: TypeAlias = ipywidgets.SelectionSlider | ipywidgets.ToggleButtons


def in_page() -> bool:
    """Return whether this process executes a chapter as a page (GAHB_PAGE is set)."""
    return bool(os.environ.get("GAHB_PAGE"))


def slider_over(
    label: str, options: list[Any], index: int, label_width: int
) -> ipywidgets.SelectionSlider:
    """Return the slider of one control, at its index-th option, its label that many digits wide."""
    return ipywidgets.SelectionSlider(
        description=label,
        options=options,
        index=index,
        style={"description_width": f"{label_width}ch"},
        layout={"width": "30rem", "max_width": "100%"},
    )


def choice_over(label: str, values: list[str], index: int, label_width: int) -> Choice:
    """Return the slider of a control whose values are numbers, or buttons for a few names."""
    if is_scale(values):
        return slider_over(label, values, index, label_width)
    return ipywidgets.ToggleButtons(
        description=label,
        options=values,
        index=index,
        style={"description_width": f"{label_width}ch", "button_width": "auto"},
    )


def label_width(labels: Iterable[str]) -> int:
    """Return the width, in digits, that holds the longest label, so that the sliders line up."""
    return max(map(len, labels)) + 2


def caption_below(caption: str | None) -> list[ipywidgets.HTMLMath]:
    """Return the caption as a list of one widget, or of none."""
    if caption is None:
        return []
    return [ipywidgets.HTMLMath(f'<div class="gahb-caption">{html.escape(caption)}</div>')]


def explorer(children: Sequence[ipywidgets.Widget]) -> ipywidgets.VBox:
    """Return the parts one below the other, in the box that the style sheet knows."""
    box = ipywidgets.VBox(children)
    box.add_class("gahb-explore")
    return box
