"""Widgets: every frame is there, said in words, and moved without a kernel."""

import asyncio
import base64
import io
import json
import re
from html.parser import HTMLParser

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from gahb_book.widgets import (
    explore_flipbook,
    explore_live,
    picture_html,
    png_bytes,
    progress,
    show_figure,
)
from gahb_book.widgets.layout import share_layouts
from gahb_book.widgets.page import is_scale

GREY = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
ONE = [("σ", [0.1, 0.2, 0.4])]
TWO = [("σ", [0.1, 0.2]), ("N", [1, 10, 100])]


@pytest.fixture(autouse=True)
def _outside_a_page(monkeypatch):
    monkeypatch.delenv("GAHB_PAGE", raising=False)


def flat(value):
    return np.full((4, 4), value, dtype=np.uint8)


def decode(element):
    data = re.search('base64,([^"]+)"', element)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))


def alt_of(element):
    return re.search('alt="([^"]*)"', element)[1]


def parts(widget, kind):
    own = [widget] if isinstance(widget, kind) else []
    return own + [p for child in getattr(widget, "children", ()) for p in parts(child, kind)]


def links_of(monkeypatch):
    made = []
    monkeypatch.setattr(ipywidgets, "jslink", lambda a, b: made.append((a, b)))
    return made


def test_png_keeps_greys_to_half_a_level():
    for levels in (2, 16, 64, 256):
        data, size = png_bytes(GREY, levels)
        read = np.asarray(Image.open(io.BytesIO(data)).convert("L")).astype(float)
        assert size == (8, 8)
        assert abs(read - GREY).max() <= 255 / (levels - 1) / 2 + 0.5


def read_rgb(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


def test_a_small_coloured_mark_stays_coloured_on_a_noisy_picture():
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), dtype=np.uint8)
    picture = np.repeat(noise[..., None], 3, axis=2)
    picture[40:43, 40:43] = mark = (230, 120, 20)
    for levels in (16, 64, 256):
        read = read_rgb(png_bytes(picture, levels)[0])
        assert abs(read[40:43, 40:43] - mark).max() <= 16, levels
        greys = read[:30]  # and what is grey stays grey, to the nearest level
        assert np.ptp(greys, axis=2).max() == 0
        assert abs(greys - picture[:30]).max() <= 255 / (min(levels, 128) - 1) / 2 + 0.5


def test_both_signs_of_a_faint_overlay_keep_their_colours():
    grey = np.tile(np.arange(64, 192, dtype=np.uint8), (64, 1))[..., None].repeat(3, axis=2)
    grey[:8, :, 0] += 60  # reddish
    grey[8:16, :, 2] += 60  # bluish
    read = read_rgb(png_bytes(grey, 24)[0])
    assert (read[:8, :, 0] - read[:8, :, 1]).min() > 25
    assert (read[8:16, :, 2] - read[8:16, :, 1]).min() > 25
    assert np.ptp(read[16:], axis=2).max() == 0


def test_fewer_levels_make_a_smaller_picture():
    noise = np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)
    sizes = [len(png_bytes(noise, levels)[0]) for levels in (16, 64, 256)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 1.8


def test_png_of_colours_bytes_and_figures():
    colours = np.zeros((4, 6, 3), dtype=np.uint8)
    colours[:, 3:] = (200, 30, 40)
    data, _ = png_bytes(colours)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), colours)
    assert png_bytes(data) == (data, (6, 4))
    figure, _ = plt.subplots(figsize=(2, 1), dpi=100)
    drawn, _ = png_bytes(figure)
    assert not plt.fignum_exists(figure.number)
    assert Image.open(io.BytesIO(drawn)).convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_picture_is_enlarged_and_says_what_it_shows():
    element = picture_html(GREY, 'a <"noisy"> square')
    assert 'alt="a &lt;&quot;noisy&quot;&gt; square"' in element
    assert "width:496px" in element  # 480 high, so as wide, and two paddings of 8
    assert "width:976px" in picture_html(np.hstack([GREY, GREY]), "twice as wide")
    assert "width:116px" in picture_html(GREY, "as asked", width=100)
    assert "image-rendering:pixelated" in element
    assert 'width="8" height="8"' in element  # the browser keeps its place


def drawn(**kwargs):
    figure, axes = plt.subplots(figsize=(4, 2), dpi=100)
    axes.set_xlabel("x", **kwargs)
    return figure


def test_a_static_figure_has_no_white_bands_above_and_below(monkeypatch):
    monkeypatch.setitem(plt.rcParams, "savefig.dpi", 100)
    figure = plt.figure(figsize=(4, 3))
    figure.patches.append(plt.Rectangle((0.1, 0.4), 0.5, 0.2, transform=figure.transFigure))
    found = re.search(r'base64,([^"]+)"', show_figure(figure, "a bar").data)
    picture = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("L")
    # a bar of 60 of 300 pixels, twice as crisp, and a margin of 8 on either side
    assert picture.width == 800
    assert picture.height == pytest.approx(2 * 60 + 2 * 8, abs=3)
    rows = np.flatnonzero((np.asarray(picture) < 250).any(1))
    assert rows[0] == pytest.approx(8, abs=2)
    empty = picture_html(plt.figure(figsize=(4, 3)), "nothing", cropped=True)
    assert 'width="400" height="300"' in empty


def test_figure_is_crisp_and_keeps_its_labels_readable(monkeypatch):
    monkeypatch.setitem(plt.rcParams, "savefig.dpi", 100)
    once, twice = (picture_html(drawn(), "axes", scale=scale) for scale in (1, 2))
    assert 'width="400" height="200"' in once
    assert 'width="800" height="400"' in twice
    assert "width:416px" in once
    assert "width:416px" in twice
    # its smallest label, 6 points of 1/72 inch, is 9 pixels high at 432 pixels for 4 inches
    small = picture_html(drawn(fontsize=6), "axes", width=600)
    assert "min-width:448px" in small
    assert "min-width:416px" in picture_html(drawn(fontsize=3), "axes")  # never above its width


def curve_of(top, title=""):
    """Return a drawn figure of one curve, whose labels on the left are as wide as `top` is long."""
    figure = Figure(figsize=(4, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, top])
    axes.set(ylabel="y", title=title)
    return figure


def test_frames_share_a_layout_in_which_every_label_has_room(monkeypatch):
    laid_out = []
    execute = ConstrainedLayoutEngine.execute
    monkeypatch.setattr(
        ConstrainedLayoutEngine,
        "execute",
        lambda engine, figure: laid_out.append(figure) or execute(engine, figure),
    )
    figures = [curve_of(top) for top in (1, 2, 3, 40_000, 5, 6, 7, 8)]
    figures[5].axes[0].set_title("two\nlines")
    share_layouts(figures)
    assert len(laid_out) <= 4  # the first and last, the widest, the tallest
    places = {figure.axes[0].get_position().bounds for figure in figures}
    assert len(places) == 1
    for figure in figures:
        png_bytes(figure)
        box = figure.axes[0].get_tightbbox()
        assert min(box.x0, box.y0) >= 0, "a label is cut"
        assert (np.array([box.x1, box.y1]) <= figure.bbox.size).all()
    assert len(laid_out) <= 4  # and none when they are drawn


def test_figures_that_differ_keep_their_own_layout():
    alike = [curve_of(1) for _ in range(3)]  # too few
    beside = [curve_of(1) for _ in range(5)]
    for figure in beside:
        figure.suptitle("above all")
    share_layouts([*alike, *beside, flat(3)])
    assert all(type(f.get_layout_engine()) is ConstrainedLayoutEngine for f in alike + beside)


def test_static_figure_has_a_caption():
    page = show_figure(GREY, "a square", caption="a < b, $x$").data
    assert page.startswith('<figure class="gahb-figure">')
    assert picture_html(GREY, "a square") in page
    assert '<figcaption class="gahb-caption mathjax_process"><p>a &lt; b, $x$</p>' in page
    assert "<p>" not in show_figure(GREY, "a square").data


def test_flipbook_of_one_control_links_slider_to_stack(monkeypatch):
    links = links_of(monkeypatch)
    book = explore_flipbook(
        [flat(v) for v in (0, 85, 255)], ONE, "a square", caption="grey $x$ & more"
    )
    (slider,) = parts(book, ipywidgets.SelectionSlider)
    (stack,) = parts(book, ipywidgets.Stack)
    assert links == [((slider, "index"), (stack, "selected_index"))]
    assert slider.description == "σ"
    assert slider.options == ("0.1", "0.2", "0.4")
    assert [decode(page.value)[0, 0] for page in stack.children] == [0, 85, 255]
    assert [alt_of(p.value) for p in stack.children][1] == "a square; σ = 0.2"
    assert "grey $x$ &amp; more" in parts(book, ipywidgets.HTMLMath)[0].value


def test_flipbook_of_two_controls_nests_stacks(monkeypatch):
    links = links_of(monkeypatch)
    frames = {
        0.1: {1: flat(0), 10: flat(51), 100: flat(102)},
        0.2: [flat(153), flat(204), flat(255)],
    }
    book = explore_flipbook(frames, TWO, "squares", initial=[0.2, 10], levels=256)
    first, second = parts(book, ipywidgets.SelectionSlider)
    outer, *inner = parts(book, ipywidgets.Stack)
    assert (first.value, second.value) == ("0.2", "10")
    assert outer.selected_index == 1
    assert [stack.selected_index for stack in inner] == [1, 1]
    assert [target[0] for source, target in links if source == (second, "index")] == inner
    assert [target[0] for source, target in links if source == (first, "index")] == [outer]
    shown = inner[1].children[2].value
    assert decode(shown)[0, 0] == 255
    assert alt_of(shown) == "squares; σ = 0.2, N = 100"


def test_play_button_moves_the_first_slider(monkeypatch):
    links = links_of(monkeypatch)
    book = explore_flipbook([GREY] * 3, ONE, "squares", play=True, initial=[0.2])
    (play,), (slider,) = parts(book, ipywidgets.Play), parts(book, ipywidgets.SelectionSlider)
    assert ((play, "value"), (slider, "index")) in links
    assert (play.min, play.max, play.value) == (0, 2, 1)


def test_flipbook_warns_of_its_weight(monkeypatch):
    monkeypatch.setattr("gahb_book.widgets.flipbook.MAX_BYTES", 100)
    with pytest.warns(UserWarning, match=r"adds 0\.0 MB to its page"):
        explore_flipbook([GREY] * 3, ONE, "squares")


def test_names_are_buttons_and_numbers_are_a_slider():
    names = [("prior", ["ring", "9 points"])]
    book = explore_flipbook([flat(0), flat(255)], names, "a square", initial=["9 points"])
    (buttons,) = parts(book, ipywidgets.ToggleButtons)
    assert (buttons.options, buttons.value) == (("ring", "9 points"), "9 points")
    assert parts(book, ipywidgets.SelectionSlider) == []
    assert is_scale(["0.5", "−3", ".5 (step 2)", "+∞", "1,000"])
    assert not is_scale(["db2", "Haar"])
    assert is_scale([f"step {i}" for i in range(9)])  # too many for buttons


class Parts(HTMLParser):
    """The elements of a figure: a list of (tag, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def all(self, tag, **wanted):
        return [a for t, a in self.found if t == tag and wanted.items() <= a.items()]


def test_page_holds_every_frame_and_shows_the_first_without_a_script(monkeypatch):
    monkeypatch.setenv("GAHB_PAGE", "1")
    frames = [[flat(0), flat(51), flat(102)], [flat(153), flat(204), flat(255)]]
    book = explore_flipbook(
        frames, TWO, "squares", caption="see $N$", initial=[0.2, 10], levels=256
    )
    page = Parts(book.data)
    images = page.all("img")
    assert [decode(f'<img src="{i["src"]}">')[0, 0] for i in images] == [0, 51, 102, 153, 204, 255]
    assert [i["alt"] for i in images if "hidden" not in i] == ["squares; σ = 0.2, N = 10"]
    first, second = page.all("input", type="range")
    assert (first["max"], first["value"], first["aria-valuetext"]) == ("1", "1", "0.2")
    assert json.loads(second["data-values"]) == ["1", "10", "100"]
    assert [label["for"] for label in page.all("label")] == [first["id"], second["id"]]
    assert page.all("button") == []
    assert page.all("script") == []
    assert "see $N$" in book.data


def test_page_has_buttons_for_names_and_a_button_that_plays(monkeypatch):
    monkeypatch.setenv("GAHB_PAGE", "1")
    names = [("prior", ["<ring>", "points"])]
    book = explore_flipbook([GREY] * 2, names, "squares", play=True, interval=250)
    page = Parts(book.data)
    radios = page.all("input", type="radio")
    assert [radio["value"] for radio in radios if "checked" in radio] == ["0"]
    assert len({radio["name"] for radio in radios}) == 1
    assert page.all("span", role="radiogroup")[0]["aria-labelledby"] == radios[0]["name"]
    assert "<span>&lt;ring&gt;</span>" in book.data
    assert page.all("button", type="button")[0]["data-interval"] == "250"
    other = explore_flipbook([GREY] * 2, names, "squares")
    assert Parts(other.data).all("input")[0]["name"] != radios[0]["name"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frames": [GREY] * 2}, "frames must be 3, one a value of 'σ', not 2"),
        (
            {"frames": {0.1: GREY, 0.2: GREY, 0.3: GREY}},
            r"frames must have the values of 'σ'.*0\.3",
        ),
        ({"frames": GREY[0, 0]}, "frames must be nested once a control"),
        ({"frames": [GREY.astype(float)] * 3}, r"image must be uint8 .*, not float64 \(8, 8\)"),
        ({"frames": ["text"] * 3}, "image must be uint8 .*, not <class 'str'>"),
        ({"controls": []}, "controls must be one or two, not 0"),
        ({"controls": [("σ", [1])]}, "controls: 'σ' must have two or more distinct values"),
        ({"controls": [("σ", [1, 1, 2])]}, r"distinct values: \['1', '1', '2'\]"),
        ({"controls": [("", [1, 2, 3])]}, "controls must each have a label, not ''"),
        ({"initial": [0.3]}, "initial must be among the values of 'σ', not 0.3"),
        ({"initial": [0.1, 1]}, r"initial must be one value a control \(1\)"),
        ({"alt": " "}, "alt must say what the picture shows, not ' '"),
        ({"levels": 1}, "levels must be from 2 to 256, not 1"),
    ],
)
def test_bad_flipbooks_are_named(change, match):
    good = {"frames": [GREY] * 3, "controls": ONE, "alt": "squares"}
    with pytest.raises(ValueError, match=match):
        explore_flipbook(**(good | change))


def live(render, **more):
    controls = {"a": ("level", [0, 100, 200]), "b": ("plus", [0, 55])}
    return explore_live(render, controls, "a square", **more)


def picture_of(widget):
    return next(p.value for p in parts(widget, ipywidgets.HTML) if "kernel" not in p.value)


def test_live_figure_draws_again_when_a_control_moves():
    box = live(lambda a, b: flat(a + b), initial={"a": 100}, levels=256)
    first, second = parts(box, ipywidgets.SelectionSlider)
    assert decode(picture_of(box))[0, 0] == 100
    second.value = 55
    first.value = 200
    assert decode(picture_of(box))[0, 0] == 255
    assert alt_of(picture_of(box)) == "a square; level = 200, plus = 55"


def test_live_figure_shows_errors_in_its_place_and_recovers():
    def render(a, b):
        if a == 100:
            raise ValueError("a must be <even>")
        return flat(a + b)

    box = live(render)
    slider = parts(box, ipywidgets.SelectionSlider)[0]
    slider.value = 100
    assert "ValueError: a must be &lt;even&gt;" in picture_of(box)
    slider.value = 200
    assert "<img" in picture_of(box)


def test_live_figure_draws_once_for_many_moves():
    calls = []

    async def move():
        slider.value = 100
        slider.value = 0
        slider.value = 200
        await asyncio.sleep(0.1)

    box = live(lambda a, b: calls.append(a) or flat(a), wait=0.01)
    slider = parts(box, ipywidgets.SelectionSlider)[0]
    asyncio.run(move())
    assert calls == [0, 200]


def test_live_figure_in_a_page_has_no_slider_and_says_why(monkeypatch):
    monkeypatch.setenv("GAHB_PAGE", "1")
    box = live(lambda a, b: flat(a + b))
    page = Parts(box.data)
    assert page.all("input") == []
    assert len(page.all("img")) == 1
    assert "needs a running kernel" in box.data


def test_live_figure_in_a_page_fails_when_its_drawing_fails(monkeypatch):
    monkeypatch.setenv("GAHB_PAGE", "1")
    with pytest.raises(ZeroDivisionError):
        live(lambda a, b: a / 0)


@pytest.mark.parametrize(
    ("controls", "initial", "match"),
    [
        ({}, {}, "controls must name at least one argument"),
        ({"a": ("A", [1, 2])}, {"b": 1}, "initial must name controls among"),
        ({"a": ("A", [1])}, {}, "controls: 'a' needs two or more values"),
        ({"a": ("A", [1, 2])}, {"a": 3}, "with 3 among them"),
    ],
)
def test_bad_live_figures_are_named(controls, initial, match):
    with pytest.raises(ValueError, match=match):
        explore_live(lambda **_: GREY, controls, "a square", initial=initial)


@pytest.mark.parametrize(("page", "line"), [("", "letters: 3 done\n"), ("1", "")])
def test_progress_passes_items_on_and_leaves_a_line_outside_pages(capsys, monkeypatch, page, line):
    monkeypatch.setenv("GAHB_PAGE", page)
    assert list(progress(iter("abc"), total=3, label="letters")) == ["a", "b", "c"]
    assert capsys.readouterr().out == line
