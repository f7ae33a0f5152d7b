"""One layout for all frames of a flipbook."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

FEWEST = 4  # frames of a kind for which a common layout is sought


def _kind(figure: Figure) -> tuple | None:
    """Return what frames have in common that can share a layout; None: this one has its own."""
    outside = figure.texts or figure.legends or figure.subfigs
    if outside or type(figure.get_layout_engine()) is not ConstrainedLayoutEngine:
        return None
    grids = [ax.get_subplotspec() for ax in figure.axes]
    return tuple(figure.get_size_inches()), tuple(str(grid) for grid in grids)


def _measure(ax: Axes) -> list[float]:
    """Return numbers that grow with the room that the labels of axes take."""
    legend = ax.get_legend()
    names = [text.get_text() for text in legend.get_texts()] if legend else []
    texts = ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), *(t.get_text() for t in ax.texts)
    limits = [*ax.get_ylim(), ax.get_xlim()[1]]
    sizes = [max((len(name) for name in names), default=0), len(names)]
    sizes += [len(text) for text in texts[:3]] + [texts[0].count("\n"), sum(map(len, texts[3:]))]
    return [*sizes, *limits, *(-abs(v) for v in limits)]


def _telling(figures: Sequence[Figure]) -> list[Figure]:
    """Return the frames whose labels take most room, in one sense or another."""
    sizes = np.array([[v for ax in f.axes for v in _measure(ax)] for f in figures])
    chosen = {0, len(figures) - 1, *sizes.argmax(0).tolist()} if sizes.size else set()
    return [figures[i] for i in sorted(chosen)]


def share_layouts(frames: Sequence[object]) -> None:
    """Place the axes of like figures alike: they do not jump, and are laid out once.

    The place of axes is the part that they have in common in the layouts of those frames whose
    labels take most room. Figures with texts or legends beside their axes keep their own layout.

    Args:
        frames: of a flipbook; what is not a figure with constrained layout is left as it is.
    """
    kinds: dict[tuple, list[Figure]] = {}
    for frame in frames:
        if isinstance(frame, Figure) and (kind := _kind(frame)) is not None:
            kinds.setdefault(kind, []).append(frame)
    for figures in kinds.values():
        if len(figures) < FEWEST:
            continue
        found = []
        for figure in _telling(figures):
            if engine := figure.get_layout_engine():
                engine.execute(figure)
            found.append([ax.get_position(original=True).extents for ax in figure.axes])
        boxes = np.array(found)  # (frames, axes, 4): left, bottom, right, top
        common = np.concatenate([boxes[..., :2].max(0), boxes[..., 2:].min(0)], -1)
        if (common[:, 2:] <= common[:, :2]).any():
            continue
        for figure in figures:
            figure.set_layout_engine("none")
            for ax, box in zip(figure.axes, common, strict=True):
                ax.set_position(Bbox.from_extents(*box))
