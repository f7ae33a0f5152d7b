"""The live figure: Python draws it again whenever a control moves."""

import asyncio
import html
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets
from IPython.display import HTML

from gahb_book.widgets.controls import (
    Control,
    caption_below,
    explorer,
    in_page,
    label_width,
    slider_over,
)
from gahb_book.widgets.page import figure_html
from gahb_book.widgets.pictures import check_alt, picture_html

NEEDS_KERNEL = "This figure needs a running kernel: open this chapter in JupyterLab to move it."


class _Live:
    """The state of one live figure: renders at most once each time the controls come to rest."""

    def __init__(self, draw: Callable[[], str], wait: float) -> None:
        self.draw, self.wait = draw, wait
        self.picture = ipywidgets.HTML()
        self.timer: asyncio.TimerHandle | None = None

    def show(self) -> None:
        """Draw now, and show an error of the drawing in the place of the picture."""
        self.timer = None
        try:
            self.picture.value = self.draw()
        except Exception as error:  # whatever `render` raises belongs in front of the reader
            text = html.escape(f"{type(error).__name__}: {error}")
            self.picture.value = f'<pre role="alert">{text}</pre>'

    def on_change(self, _: Any) -> None:
        """Draw after `wait` seconds without another change; at once outside an event loop."""
        if self.timer is not None:
            self.timer.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.show()
        else:
            self.timer = loop.call_later(self.wait, self.show)


def explore_live(
    render: Callable[..., Any],
    controls: Mapping[str, Control],
    alt: str,
    *,
    caption: str | None = None,
    initial: Mapping[str, Any] | None = None,
    width: int | None = None,
    levels: int = 64,
    wait: float = 0.15,
) -> ipywidgets.VBox | HTML:
    """Return a figure that Python draws again whenever a control moves; it needs a kernel.

    In a page (GAHB_PAGE) it is the first picture and a sentence that says so, without sliders.

    Args:
        render: called with one keyword argument a control; returns a picture as for `png_bytes`.
        controls: name of the argument → (label, values).
        alt: what the picture shows, in words; the values are added.
        caption: a sentence below, which may hold $formulas$.
        initial: name → value, by default the first value of each.
        width: as for `picture_html`.
        levels: as for `png_bytes`.
        wait: seconds without a change before drawing, so that slow drawings do not pile up.

    Raises:
        ValueError: when a control or an initial value does not fit.
    """
    check_alt(alt)
    sliders = _live_sliders(controls, initial or {})

    def draw() -> str:
        values = {name: slider.value for name, slider in sliders.items()}
        said = ", ".join(f"{controls[name][0]} = {value}" for name, value in values.items())
        return picture_html(render(**values), f"{alt}; {said}", width=width, levels=levels)

    if in_page():
        note = f'<p class="gahb-note"><em>{NEEDS_KERNEL}</em></p>'
        return HTML(figure_html(f'<div class="gahb-frames">{draw()}</div>{note}', caption))
    live = _Live(draw, wait)
    for slider in sliders.values():
        slider.observe(live.on_change, "value")
    live.show()
    return explorer([*sliders.values(), live.picture, *caption_below(caption)])


def _live_sliders(
    controls: Mapping[str, Control], initial: Mapping[str, Any]
) -> dict[str, ipywidgets.SelectionSlider]:
    if not controls:
        raise ValueError(f"controls must name at least one argument of render, not {controls!r}")
    if unknown := set(initial) - set(controls):
        raise ValueError(f"initial must name controls among {list(controls)}, not {unknown}")
    sliders = {}
    room = label_width(label for label, _ in controls.values())
    for name, (label, values) in controls.items():
        values = list(values)
        start = initial.get(name, values[0] if values else None)
        if len(values) < 2 or start not in values:
            raise ValueError(
                f"controls: {name!r} needs two or more values with {start!r} among them"
            )
        sliders[name] = slider_over(label, [(str(v), v) for v in values], values.index(start), room)
    return sliders
