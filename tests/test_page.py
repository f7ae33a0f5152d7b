"""The built pages in a browser: no foreign request, no error, every slider moves its picture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from browser import FLAGS, complaints_of, find_chromium, open_page, serve, slider_handles

TOP = Path(__file__).parents[1]
JUPYTER_BOOK = str(Path(sys.executable).with_name("jupyter-book"))
MAX_PAGE_BYTES = 3_000_000
GENERATED = ("index", "genindex", "search")


def files_of(part):
    """Every file that a table of contents names, in its order."""
    if isinstance(part, list):
        return [name for item in part for name in files_of(item)]
    own = [part[key] for key in ("root", "file") if key in part]
    inner = [part.get(key, []) for key in ("parts", "chapters", "sections")]
    return own + files_of(inner)


CONTENTS = files_of(yaml.safe_load((TOP / "_toc.yml").read_text()))
PAGES = [f"{name}.html" for name in (*CONTENTS, *GENERATED)]
DEMO_CELLS = [
    """import numpy as np, matplotlib.pyplot as plt
from gahb_core.figures import image_grid, plot_psnr, use_style
from gahb_core.widgets import explore_flipbook, explore_live, progress, show_figure
use_style()
noise = np.random.default_rng(0).standard_normal((2, 32, 32))
ramp = np.linspace(0, 1, 32) * np.ones((32, 1))
sigmas = [0.05, 0.1, 0.2, 0.4]
seen = list(progress(sigmas, label="levels"))""",
    """explore_flipbook([image_grid(ramp + s * noise) for s in sigmas], [("σ", sigmas)],
    alt="two noisy ramps", caption=r"Noise of deviation $\\sigma$ on a ramp.", play=True)""",
    """def draw(sigma, power):
    fig, ax = plt.subplots(figsize=(4, 2.5))
    plot_psnr([0, 10, 20], {"demo": [sigma * 10, 15, 20 * power]}, ax)
    return fig
explore_flipbook({s: {p: draw(s, p) for p in (1, 2)} for s in sigmas},
    [("σ", sigmas), ("power", [1, 2])], alt="a curve", initial=[0.1, 2])""",
    """explore_live(draw, {"sigma": ("σ", sigmas), "power": ("power", [1, 2])}, alt="a curve")""",
    """show_figure(draw(0.1, 1), alt="a static curve")""",
]


@pytest.fixture(scope="module")
def browser():
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine: install one, or set GAHB_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def book_origin(built_book):
    with serve(built_book) as origin:
        yield origin


def run(*command, cwd, **more_env):
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **more_env}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"


def execute_demo(source: Path, target: Path):
    cells = [nbformat.v4.new_markdown_cell("# Demo\n\nMathematics: $\\sigma^2$.")]
    cells += [nbformat.v4.new_code_cell(cell) for cell in DEMO_CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), source)
    papermill = (sys.executable, "-m", "papermill", "--no-progress-bar")
    run(*papermill, str(source), str(target), cwd=source.parent, GAHB_PAGE="1")


@pytest.fixture(scope="module")
def demo_html(tmp_path_factory):
    """A book of one page, made with this book's own configuration."""
    top = tmp_path_factory.mktemp("demo")
    (top / "book").mkdir()
    (top / "book" / "_static").symlink_to(TOP / "book" / "_static")
    (top / "book" / "references.bib").symlink_to(TOP / "book" / "references.bib")
    (top / "_config.yml").write_text((TOP / "_config.yml").read_text())
    (top / "_toc.yml").write_text("format: jb-book\nroot: book/demo\n")
    execute_demo(top / "source.ipynb", top / "book" / "demo.ipynb")
    (top / "source.ipynb").unlink()
    run(JUPYTER_BOOK, "build", ".", "-W", "--keep-going", "-n", cwd=top)
    return top / "_build" / "html"


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_demo_page_works_without_kernel_over_http(browser, demo_html, theme):
    with serve(demo_html) as origin:
        assert complaints_of(browser, origin, "book/demo.html", theme) == []


@pytest.mark.browser
def test_demo_page_works_from_a_file(browser, demo_html):
    assert complaints_of(browser, demo_html.as_uri() + "/", "book/demo.html", "light") == []


@pytest.mark.browser
def test_demo_page_shows_its_three_sliders_and_says_what_needs_a_kernel(browser, demo_html):
    with (
        serve(demo_html) as origin,
        open_page(browser, origin, "book/demo.html", "light") as opened,
    ):
        page, _ = opened
        names = [handle.get_attribute("aria-label") for handle in slider_handles(page)]
        assert names == ["σ", "σ", "power"]
        assert page.get_by_text("needs a running kernel").is_visible()
        assert page.locator(".gahb-caption mjx-container").count() == 1
        assert page.get_by_text("levels: 4 done").count() == 0  # of a notebook, not of a page


@pytest.mark.browser
def test_play_button_turns_the_pages(browser, demo_html):
    with serve(demo_html) as origin, open_page(browser, origin, "book/demo.html", "dark") as opened:
        page, complaints = opened
        handle = slider_handles(page)[0]
        page.locator(".widget-play button, .jupyter-widget-play button").first.click()
        page.wait_for_function("h => h.getAttribute('aria-valuenow') === '3.0'", arg=handle)
        assert complaints == []


@pytest.mark.browser
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_built_page_works_without_kernel_over_http(browser, book_origin, path, theme):
    assert complaints_of(browser, book_origin, path, theme) == []


def weights_of(html: Path) -> dict[str, int]:
    pages = (path for path in html.rglob("*.html") if "_static" not in path.parts)
    return {str(path.relative_to(html)): path.stat().st_size for path in pages}


@pytest.mark.browser
def test_built_page_works_from_a_file(browser, built_book):
    weights = weights_of(built_book)
    heaviest = max(weights, key=weights.get)
    assert complaints_of(browser, built_book.as_uri() + "/", heaviest, "light") == []


@pytest.mark.browser
def test_built_pages_are_those_of_the_contents_and_light(built_book):
    weights = weights_of(built_book)
    results = TOP / "_build" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "page_weights.json").write_text(json.dumps(weights, indent=1) + "\n")
    assert sorted(weights) == sorted(PAGES)
    assert {path: weight for path, weight in weights.items() if weight > MAX_PAGE_BYTES} == {}
