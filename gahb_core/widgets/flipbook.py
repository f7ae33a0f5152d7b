"""The flipbook: every frame is made beforehand, and sliders turn the pages with no kernel."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import ipywidgets
import numpy as np

from gahb_core.widgets.controls import Control, caption_below, explorer, label_width, slider_over
from gahb_core.widgets.pictures import check_alt, picture_html

MAX_BYTES = 1_500_000


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


def _with_play(slider: ipywidgets.SelectionSlider, interval: int) -> ipywidgets.HBox:
    play = ipywidgets.Play(max=len(slider.options) - 1, interval=interval, value=slider.index)
    ipywidgets.jslink((play, "value"), (slider, "index"))
    return ipywidgets.HBox([play, slider], layout={"flex_flow": "row wrap"})


def _stack(
    pages: Sequence[ipywidgets.Widget], slider: ipywidgets.SelectionSlider
) -> ipywidgets.Stack:
    """Return the pages one at a time, the one of the slider's index, linked in the browser."""
    stack = ipywidgets.Stack(pages, selected_index=slider.index)
    ipywidgets.jslink((slider, "index"), (stack, "selected_index"))
    return stack


def explore_flipbook(
    frames: Any,
    controls: Sequence[Control],
    alt: str,
    caption: str | None = None,
    play: bool = False,
    initial: Sequence[Any] | None = None,
    width: int | None = None,
    levels: int = 64,
    interval: int = 400,
) -> ipywidgets.VBox:
    """Return a figure of ready-made frames that one or two sliders move, with no kernel.

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
    layout = ipywidgets.Layout()
    pages: list[ipywidgets.Widget] = [
        ipywidgets.HTML(picture_html(frame, text, width, levels), layout=layout)
        for frame, text in zip(flat, _alts(alt, checked), strict=True)
    ]
    room = label_width(label for label, _ in checked)
    sliders = [slider_over(*control, i, room) for control, i in zip(checked, indices, strict=True)]
    if len(sliders) == 2:
        num = len(checked[1][1])
        rows = [pages[i : i + num] for i in range(0, len(pages), num)]
        pages = [_stack(row, sliders[1]) for row in rows]
    stack = _stack(pages, sliders[0])
    rows_of_controls = [_with_play(sliders[0], interval) if play else sliders[0], *sliders[1:]]
    book = explorer([*rows_of_controls, stack, *caption_below(caption)])
    _warn_of_weight(book)
    return book


def flipbook_bytes(widget: ipywidgets.Widget) -> int:
    """Return how many bytes the pictures of a widget and its children add to a page."""
    own = len(widget.value) if isinstance(widget, ipywidgets.HTML) else 0
    return own + sum(flipbook_bytes(child) for child in getattr(widget, "children", ()))


def _warn_of_weight(widget: ipywidgets.Widget) -> None:
    weight = flipbook_bytes(widget)
    if weight > MAX_BYTES:
        warnings.warn(
            f"this flipbook adds {weight / 1e6:.1f} MB to its page, which should stay below 3 MB: "
            "take fewer frames, smaller ones, or fewer levels",
            stacklevel=3,
        )
