"""Figures: what is drawn is what was given, labelled, and the data stay as they were."""

import importlib.util
import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from gahb_book import plots

X = np.linspace(0, 1, 5)
IMAGES = np.random.default_rng(0).random((6, 1, 4, 5))
PLOTS = {
    "psnr": lambda ax: plots.plot_psnr(X, {"a": X + 1, "b": X + 2}, ax),
    "density": lambda ax: plots.plot_density_1d(X, {"a": X}, ax, points=X),
    "score": lambda ax: plots.plot_score_field(X, np.eye(5), np.ones((5, 5, 2)), ax),
    "trajectory": lambda ax: plots.plot_trajectory({"a": X + 1}, ax),
    "training": lambda ax: plots.plot_training({"a": (X + 1, X + 1)}, ax),
    "spectrum": lambda ax: plots.plot_spectrum({"a": X + 1}, ax, log=True),
    "histograms": lambda ax: plots.plot_histograms({"a": X, "b": X[:3]}, ax, "similarity"),
}


@pytest.fixture
def ax():
    with mpl.rc_context():
        plots.use_style()
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_returns_its_axes_labelled(ax, name):
    assert PLOTS[name](ax) is ax
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", sorted(set(PLOTS) - {"score"}))
def test_named_curves_are_in_a_legend_outside_the_data(ax, name):
    PLOTS[name](ax)
    ax.figure.canvas.draw()
    assert "a" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_inputs_are_not_altered(ax):
    x, y, images = torch.linspace(0, 1, 5, requires_grad=True), X.copy(), IMAGES.copy()
    plots.plot_psnr(x, {"a": y}, ax)
    plots.plot_images(images, ax, columns=2)
    plots.plot_sheet(images, ax)
    np.testing.assert_array_equal(y, X)
    np.testing.assert_array_equal(images, IMAGES)
    assert x.requires_grad


def test_plot_psnr_draws_the_given_numbers_and_the_identity(ax):
    plots.plot_psnr(X, {"net": X + 3}, ax)
    net, identity = ax.lines
    np.testing.assert_array_equal(net.get_ydata(), X + 3)
    np.testing.assert_array_equal(identity.get_ydata(), X)
    assert "dB" in ax.get_xlabel()
    assert "dB" in ax.get_ylabel()


def test_plot_spectrum_counts_from_one(ax):
    plots.plot_spectrum({"a": [3.0, 2.0, 1.0]}, ax)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 2, 3])


def test_plot_histograms_share_bins_and_count_all(ax):
    plots.plot_histograms({"a": [0.0, 1.0, 1.0], "b": [2.0]}, ax, "s", bins=4)
    a, b = ax.patches[0].get_xy(), ax.patches[1].get_xy()
    np.testing.assert_array_equal(np.unique(a[:, 0]), [0, 0.5, 1, 1.5, 2])
    np.testing.assert_array_equal(np.unique(b[:, 0]), [0, 0.5, 1, 1.5, 2])
    assert a[:, 1].max() == 2


def test_plot_images_keeps_one_grey_scale_and_writes_titles(ax):
    titles = [f"t{i}" for i in range(6)]
    plots.plot_images(torch.tensor(IMAGES), ax, titles, columns=3)
    assert {image.get_clim() for image in ax.images} == {(0.0, 1.0)}
    assert [text.get_text() for text in ax.texts] == titles
    np.testing.assert_array_equal(ax.images[4].get_array(), IMAGES[4, 0])


def test_plot_images_do_not_overlap_and_stand_upright(ax):
    plots.plot_images(IMAGES, ax, columns=3)
    extents = np.array([image.get_extent() for image in ax.images]).round(6)
    assert extents[0][1] < extents[1][0]
    assert extents[0][2] < extents[3][3]
    low, high = ax.get_ylim()
    assert low > high  # the first row is at the top
    assert extents[-1][2] <= low


def test_plot_images_leave_room_only_for_titles_that_are_there(ax):
    plots.plot_images(IMAGES, ax, ["a", "b", "c", "", "", ""], columns=3)
    tops = [image.get_extent()[3] for image in ax.images]
    assert tops[0] == pytest.approx(0.22)
    assert tops[3] == pytest.approx(0.22 + 4 / 5 + 0.06)
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]


def test_image_grid_places_each_image_and_separates_them():
    grid = plots.image_grid(IMAGES, columns=4, scale=2)
    assert grid.dtype == np.uint8
    assert grid.shape == (2 * (4 + 1 + 4), 2 * (4 * 6 - 1))
    small = grid[::2, ::2]
    np.testing.assert_array_equal(small[5:9, 6:11], np.rint(255 * IMAGES[5, 0]))
    assert (small[4] == 255).all()
    assert (small[:4, 5] == 255).all()


def test_to_uint8_clips_and_rounds():
    bytes_ = plots.to_uint8([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0], low=0.0, high=2.0)
    np.testing.assert_array_equal(bytes_, [0, 0, 64, 128, 255, 255])


def test_figure_size_is_as_wide_as_the_text():
    assert plots.figure_size() == (plots.TEXT_WIDTH, pytest.approx(0.62 * plots.TEXT_WIDTH))
    assert plots.figure_size(2, aspect=1, rows=3)[1] == pytest.approx(plots.TEXT_WIDTH * 3 / 2)


def test_style_file_holds_only_known_settings_and_distinct_colours():
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("error")
        plots.use_style()
        cycle = mpl.rcParams["axes.prop_cycle"]
    assert cycle.keys == {"color"}
    assert len({style["color"] for style in cycle}) == len(cycle) == 7


def test_a_curve_of_a_given_colour_is_solid_and_takes_none_of_the_others():
    with mpl.rc_context():
        plots.use_style()
        _, ax = plt.subplots()
        given = [ax.plot(X, X, color="C3")[0] for _ in range(9)]
        (first,) = ax.plot(X, X)
        assert {line.get_linestyle() for line in (*given, first)} == {"-"}
        assert first.get_color() == mpl.colors.to_hex("C0").upper()


def test_the_eighth_curve_of_a_panel_begins_the_colours_again_dashed():
    with mpl.rc_context():
        plots.use_style()
        _, ax = plt.subplots()
        plots.plot_density_1d(X, {f"{i}": X for i in range(22)}, ax)
        styles = [(line.get_linestyle(), line.get_color()) for line in ax.get_lines()]
    assert [line for line, _ in styles] == ["-"] * 7 + ["--"] * 7 + [":"] * 8
    assert len(set(styles)) == 21
    assert [colour for _, colour in styles[:7]] == [colour for _, colour in styles[7:14]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda ax: plots.image_grid(np.zeros((2, 2, 4, 4))), r"x must have shape .*\(2, 2, 4"),
        (lambda ax: plots.image_grid(np.zeros((4, 4)), columns=0), "columns and scale .* not 0"),
        (lambda ax: plots.to_uint8(X, 1.0, 0.0), "high must be above low, not 0.0"),
        (lambda ax: plots.figure_size(0), "columns and rows must be at least 1, not 0"),
        (lambda ax: plots.plot_images(IMAGES, ax, ["one"]), r"titles must be one an image \(6\)"),
        (lambda ax: plots.plot_psnr(X, {}, ax), "curves must name at least one curve"),
        (lambda ax: plots.plot_histograms({}, ax, "s"), "samples must name at least one"),
        (
            lambda ax: plots.plot_score_field(X, np.eye(4), np.ones((4, 4, 2)), ax),
            r"density and score must be .*\(4, 4\) and \(4, 4, 2\)",
        ),
    ],
)
def test_bad_input_is_named(ax, call, match):
    with pytest.raises(ValueError, match=match):
        call(ax)


def test_vendored_scripts_are_the_recorded_ones():
    folder = Path(__file__).parents[2] / "book" / "_static" / "vendor"
    spec = importlib.util.spec_from_file_location("fetch", folder / "fetch.py")
    fetch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fetch)
    assert fetch.changed_files(folder) == []
    recorded = set(fetch.recorded_sums())
    wanted = {place for files in fetch.PACKAGES.values() for place in files.values()}
    assert {name for name in wanted if not name.endswith("/")} <= recorded


def test_to_grey_puts_zero_in_the_middle_and_the_largest_hundredth_at_an_end():
    e = torch.linspace(-1, 1, 201, dtype=torch.float64).reshape(1, 1, 3, 67)
    grey = plots.to_grey(torch.cat([e, 1e-3 * e]))
    torch.testing.assert_close(grey[0], grey[1])  # each on its own scale
    assert grey[0].flatten()[100] == 0.5
    torch.testing.assert_close(grey[:1], (0.5 + 0.5 * e / 0.99).clip(0, 1))


def test_to_grey_does_not_blow_up_what_is_faint_beside_one_bright_pixel():
    e = torch.full((1, 1, 20, 20), 1e-6)
    e[0, 0, 5, 5] = -2.0
    grey = plots.to_grey(e)
    assert grey[0, 0, 5, 5] == 0
    assert abs(grey[0, 0, 0, 0] - 0.5) < 1e-5


def test_pictures_in_colour_keep_their_colours(ax):
    red = np.zeros((2, 3, 4, 5))
    red[:, 0] = 1
    picture = plots.image_grid(red, columns=2, gap=1)
    assert picture.shape == (4, 11, 3)
    assert (picture[:, 5] == 255).all()  # the line between them
    np.testing.assert_array_equal(picture[0, 0], [255, 0, 0])
    plots.plot_images(torch.tensor(red), ax)
    np.testing.assert_array_equal(ax.images[0].get_array()[0, 0], [255, 0, 0])
