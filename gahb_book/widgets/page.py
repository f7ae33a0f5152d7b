"""Figures in plain HTML, for a rendered page: no kernel, no widget library, static without script.

The book's own `page.js` listens to the controls; until it runs they are hidden, and the figure is
its first picture.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from itertools import count

MAX_BUTTONS = 8
_numbers = count(1)


def is_scale(values: Sequence[str]) -> bool:
    """Return whether a slider suits the values: each begins with a number, or they are many.

    >>> is_scale(["0.1", "−3 dB", ".5 (step 2)"]), is_scale(["ring", "9 points"])
    (True, False)
    """
    numbers = all(re.match(r"[-−+]?\.?\d|[-−+]?(inf|∞)", value) for value in values)
    return numbers or len(values) > MAX_BUTTONS


def _slider(label: str, values: Sequence[str], index: int, name: str) -> str:
    choices = html.escape(json.dumps(values, ensure_ascii=False))
    widest = max(map(len, values))
    return (
        f'<label for="{name}">{html.escape(label)}</label>'
        f'<input type="range" id="{name}" min="0" max="{len(values) - 1}" value="{index}" '
        f'autocomplete="off" aria-valuetext="{html.escape(values[index])}" data-values="{choices}">'
        # the slider says its value itself: this copy is for the eye
        f'<span class="gahb-value" aria-hidden="true" style="min-width:{widest}ch">'
        f"{html.escape(values[index])}</span>"
    )


def _buttons(label: str, values: Sequence[str], index: int, name: str) -> str:
    choices = "".join(
        f'<label><input type="radio" name="{name}" value="{i}" autocomplete="off"'
        f"{' checked' if i == index else ''}><span>{html.escape(value)}</span></label>"
        for i, value in enumerate(values)
    )
    return (
        f'<span id="{name}">{html.escape(label)}</span>'
        f'<span class="gahb-choices" role="radiogroup" aria-labelledby="{name}">{choices}</span>'
    )


def _play(label: str, interval: int) -> str:
    """Return the button that plays a control; readers who want less motion step with it."""
    return (
        f'<button type="button" class="gahb-play" data-interval="{interval}">'
        '<span class="gahb-motion">Play</span><span class="gahb-still">Next</span>'
        f'<span class="gahb-unseen"> {html.escape(label)}</span></button>'
    )


def _control(label: str, values: Sequence[str], index: int, interval: int | None) -> str:
    name = f"gahb-control-{next(_numbers)}"
    make = _slider if is_scale(values) else _buttons
    play = "" if interval is None else _play(label, interval)
    return f'<div class="gahb-control">{make(label, values, index, name)}{play}</div>'


def caption_html(caption: str | None) -> str:
    """Return the `<figcaption>`, its $formulas$ for MathJax; an empty one takes the page's text."""
    text = "" if caption is None else f"<p>{html.escape(caption)}</p>"
    return f'<figcaption class="gahb-caption mathjax_process">{text}</figcaption>'


def figure_html(inner: str, caption: str | None, kind: str = "") -> str:
    """Return a `<figure>` of what stands in it and its caption, as the pipeline numbers it."""
    return f'<figure class="gahb-figure{kind}">{inner}{caption_html(caption)}</figure>'


def flipbook_html(
    pictures: Sequence[str],
    controls: Sequence[tuple[str, list[str]]],
    indices: Sequence[int],
    caption: str | None,
    interval: int | None,
) -> str:
    """Return a figure whose controls show one of the pictures at a time.

    Args:
        pictures: `<img>` elements, in the order of `itertools.product` of the controls' values.
        controls: pairs (label, values).
        indices: of the values shown first.
        caption: below, may hold $formulas$.
        interval: milliseconds a frame of the button that plays the first control; None: no button.
    """
    sizes = [len(values) for _, values in controls]
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    shown = sum(i * stride for i, stride in zip(indices, strides, strict=True))
    frames = "".join(
        picture if i == shown else picture.replace("<img ", "<img hidden ", 1)
        for i, picture in enumerate(pictures)
    )
    rows = "".join(
        _control(label, values, index, interval if first else None)
        for first, (label, values), index in zip(
            [True, *[False] * len(sizes)], controls, indices, strict=False
        )
    )
    inner = f'<div class="gahb-controls">{rows}</div><div class="gahb-frames">{frames}</div>'
    return figure_html(inner, caption, " gahb-explore")
