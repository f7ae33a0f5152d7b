"""The flipbook: every frame is made beforehand, and controls turn the pages with no kernel."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import ipywidgets
import numpy as np
from IPython.display import HTML

from gahb_book.widgets.controls import (
    Choice,
    Control,
    caption_below,
    choice_over,
    explorer,
    in_page,
    label_width,
)
from gahb_book.widgets.layout import share_layouts
from gahb_book.widgets.page import flipbook_html
from gahb_book.widgets.pictures import check_alt, picture_html

MAX_BYTES = 1_500_000
CRISP = 12  # so many frames at most are drawn at twice their resolution


def _check_controls(controls: Sequence[Control]) -> list[tuple[str, list[str]]]:
    """Return the controls with their values as text, or raise ValueError."""
    checked = [(label, [str(v) for v in values]) for label, values in controls]
    if len(checked) not in (1, 2):
        raise ValueError(f"controls must be one or two, not {len(checked)}")
    for label, values in checked:
        if not label.strip():
            raise ValueError(f"controls must each have a label, not {label!r}")
        if len(values) < 2 or len(set(values)) != len(values):
            raise ValueError(f"controls: {label!r} must have two or more distinct values: {values}")
    return checked


def _flatten(frames: Any, controls: Sequence[tuple[str, list[str]]]) -> list[Any]:
    """Return the frames in the order of `itertools.product` of the controls' values."""
    label, values = controls[0]
    if isinstance(frames, Mapping):
        frames = {str(key): frame for key, frame in frames.items()}
        if list(frames) != values:
            raise ValueError(
                f"frames must have the values of {label!r}, {values}, as keys, not {list(frames)}"
            )
        frames = list(frames.values())
    if not isinstance(frames, Sequence | np.ndarray) or isinstance(frames, bytes | str):
        raise ValueError(f"frames must be nested once a control ({label!r}), not {type(frames)}")
    if len(frames) != len(values):
        raise ValueError(
            f"frames must be {len(values)}, one a value of {label!r}, not {len(frames)}"
        )
    if len(controls) == 1:
        return list(frames)
    return [frame for row in frames for frame in _flatten(row, controls[1:])]


def _initial_indices(
    initial: Sequence[Any] | None, controls: Sequence[tuple[str, list[str]]]
) -> list[int]:
    if initial is None:
        return [0] * len(controls)
    if len(initial) != len(controls):
        raise ValueError(f"initial must be one value a control ({len(controls)}), not {initial!r}")
    for value, (label, values) in zip(initial, controls, strict=True):
        if str(value) not in values:
            raise ValueError(f"initial must be among the values of {label!r}, not {value!r}")
    return [values.index(str(v)) for v, (_, values) in zip(initial, controls, strict=True)]


def _alts(alt: str, controls: Sequence[tuple[str, list[str]]]) -> list[str]:
    labels = [label for label, _ in controls]
    for_each = product(*(values for _, values in controls))
    return [
        f"{alt}; " + ", ".join(f"{k} = {v}" for k, v in zip(labels, values, strict=True))
        for values in for_each
    ]


def _with_play(slider: Choice, interval: int) -> ipywidgets.HBox:
    play = ipywidgets.Play(max=len(slider.options) - 1, interval=interval, value=slider.index)
    ipywidgets.jslink((play, "value"), (slider, "index"))
    return ipywidgets.HBox([play, slider], layout={"flex_flow": "row wrap"})


def _stack(pages: Sequence[ipywidgets.Widget], slider: Choice) -> ipywidgets.Stack:
    """Return the pages one at a time, the one of the control's index, linked in the browser."""
    stack = ipywidgets.Stack(pages, selected_index=slider.index)
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    return stack


def explore_flipbook(
    frames: Any,
    controls: Sequence[Control],
    alt: str,
    *,
    caption: str | None = None,
    play: bool = False,
    initial: Sequence[Any] | None = None,
    width: int | None = None,
    levels: int = 64,
    interval: int = 400,
) -> ipywidgets.VBox | HTML:
    """Return a figure of ready-made frames that one or two controls move, with no kernel.

    A control is a slider where its values are numbers, and buttons where they are a few names. In
    a page (GAHB_PAGE) the figure is plain HTML; in JupyterLab it is made of widgets.

    Args:
        frames: one a value of the control; with two controls nested, frames[i][j] for the i-th
            value of the first and the j-th of the second. Sequences, or mappings whose keys are
            the values in order. Each frame as for `png_bytes`.
        controls: one or two pairs (label, values); the values are shown as text.
        alt: what the frames show, in words; each frame's own text adds the values.
        caption: a sentence below, which may hold $formulas$.
        play: whether a button plays the first control.
        initial: one value a control, by default the first.
        width: of the frames, in CSS pixels, as for `picture_html`.
        levels: as for `png_bytes`; 16 to 64 keep noise small.
        interval: milliseconds a frame while playing.

    Raises:
        ValueError: when controls, frames, initial or alt do not fit.
    """
    check_alt(alt)
    checked = _check_controls(controls)
    flat = _flatten(frames, checked)
    indices = _initial_indices(initial, checked)
    scale = 2 if len(flat) <= CRISP else 1
    share_layouts(flat)
    pictures = [
        picture_html(frame, text, width=width, levels=levels, scale=scale)
        for frame, text in zip(flat, _alts(alt, checked), strict=True)
    ]
    _warn_of_weight(sum(map(len, pictures)))
    if in_page():
        return HTML(flipbook_html(pictures, checked, indices, caption, interval if play else None))
    return _widgets(pictures, checked, indices, caption, interval if play else None)


def _widgets(
    pictures: Sequence[str],
    controls: Sequence[tuple[str, list[str]]],
    indices: Sequence[int],
    caption: str | None,
    interval: int | None,
) -> ipywidgets.VBox:
    """Return the figure for JupyterLab; the arguments are those of `flipbook_html`."""
    layout = ipywidgets.Layout()
    pages: list[ipywidgets.Widget] = [ipywidgets.HTML(text, layout=layout) for text in pictures]
    room = label_width(label for label, _ in controls)
    moved = [choice_over(*control, i, room) for control, i in zip(controls, indices, strict=True)]
    if len(moved) == 2:
        num = len(controls[1][1])
        rows = [pages[i : i + num] for i in range(0, len(pages), num)]
        pages = [_stack(row, moved[1]) for row in rows]
    stack = _stack(pages, moved[0])
    first = moved[0] if interval is None else _with_play(moved[0], interval)
    return explorer([first, *moved[1:], stack, *caption_below(caption)])


def _warn_of_weight(weight: int) -> None:
    if weight > MAX_BYTES:
        warnings.warn(
            f"this flipbook adds {weight / 1e6:.1f} MB to its page, which should stay below 3 MB: "
            "take fewer frames, smaller ones, or fewer levels",
            stacklevel=3,
        )
