"""The built pages in a browser: no foreign request, no error, every slider moves its picture."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from browser import SETTLED, complaints_of, controls, open_page, serve, violations

TOP = Path(__file__).parents[2]
JUPYTER_BOOK = str(Path(sys.executable).with_name("jupyter-book"))
MAX_PAGE_BYTES = 3_000_000
MAX_SCRIPT_BYTES = 1_500_000
MOST_BEFORE = 450_000  # bytes of scripts that a page runs before its first control
THEMES = ("light", pytest.param("dark", marks=pytest.mark.verify))
GENERATED = ("index", "genindex", "search", "404")


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
from gahb_book.plots import image_grid, plot_psnr, use_style
from gahb_book.widgets import explore_flipbook, explore_live, progress, show_figure
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
explore_flipbook([[draw(s, p) for p in (1, 2)] for s in sigmas],
    [("σ", sigmas), ("power", ["one", "two"])], alt="a curve", initial=[0.1, "two"])""",
    """explore_live(draw, {"sigma": ("σ", sigmas), "power": ("power", [1, 2])}, alt="a curve")""",
    """show_figure(draw(0.1, 1), alt="a static curve")""",
    "**Figure.** One curve, of $x^2$.",
]


# what makes a page wider than a phone, unless it breaks or scrolls by itself
LONG = (
    f"An address: <https://example.org/{'a' * 80}>, a path: `/a/{'long/path/' * 8}file.json`, "
    f"a name: `{'name_' * 20}`, a formula: ${' + '.join(f'x_{{{i}}}' for i in range(40))}$.\n\n"
    f"- `{'in_a_list.' * 10}`\n\n| a table |\n|---|\n| `{'in_a_table.' * 10}` |"
)


def run(*command, cwd, **more_env):
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **more_env}, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"


def execute_demo(source: Path, target: Path):
    cells = [nbformat.v4.new_markdown_cell("# Demo\n\nMathematics: $\\sigma^2$.")]
    cells += [nbformat.v4.new_code_cell(cell) for cell in DEMO_CELLS[:-1]]
    cells += [nbformat.v4.new_markdown_cell(text) for text in (DEMO_CELLS[-1], LONG)]
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
    (top / "book" / "_templates").symlink_to(TOP / "book" / "_templates")
    (top / "book" / "references.bib").symlink_to(TOP / "book" / "references.bib")
    config = yaml.safe_load((TOP / "_config.yml").read_text())
    config["html"]["baseurl"] = "https://book.example/"
    (top / "_config.yml").write_text(yaml.safe_dump(config, allow_unicode=True))
    (top / "_toc.yml").write_text("format: jb-book\nroot: book/demo\n")
    execute_demo(top / "source.ipynb", top / "book" / "demo.ipynb")
    (top / "source.ipynb").unlink()
    run(JUPYTER_BOOK, "build", ".", "-W", "--keep-going", "-n", cwd=top)
    return top / "_build" / "html"


DEMO = "book/demo.html"


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_demo_page_works_without_kernel_over_http(browser, demo_html, theme):
    with serve(demo_html) as origin:
        assert complaints_of(browser, origin, DEMO, theme) == []


@pytest.mark.browser
def test_demo_page_works_from_a_file(browser, demo_html):
    assert complaints_of(browser, demo_html.as_uri() + "/", DEMO, "light") == []


@pytest.fixture
def demo(browser, demo_html):
    """The demo page, opened over http by a reader who wants no motion."""
    with serve(demo_html) as origin, open_page(browser, origin, DEMO, "light") as (page, wrong):
        yield page
        assert wrong == []


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_on_the_demo_page(browser, demo_html, axe, theme, width):
    address = demo_html.as_uri() + "/"
    with open_page(browser, address, DEMO, theme) as (page, _):
        page.set_viewport_size({"width": width, "height": 900})
        assert violations(page, axe) == []


@pytest.mark.browser
def test_demo_page_names_its_controls_and_says_what_needs_a_kernel(demo):
    names = [
        c.evaluate("c => c.closest('.gahb-control').firstChild.textContent") for c in controls(demo)
    ]
    assert names == ["σ", "σ", "power"]
    assert demo.get_by_role("radiogroup", name="power").get_by_role("radio").count() == 2
    assert demo.get_by_role("slider", name="σ").first.get_attribute("aria-valuetext") == "0.05"
    assert demo.get_by_text("needs a running kernel").is_visible()
    assert demo.get_by_text("levels: 4 done").count() == 0  # of a notebook, not of a page
    assert demo.locator("input:not([type=range], [type=radio], [type=search])").count() == 0


@pytest.mark.browser
def test_figures_are_numbered_and_have_their_captions(demo):
    captions = demo.locator("figure > figcaption").all_inner_texts()
    assert [text.split(".")[0] for text in captions] == [f"Figure {i}" for i in (1, 2, 3, 4)]
    assert captions[3].startswith("Figure 4. One curve, of")
    assert demo.locator("figcaption mjx-container").count() == 2
    assert demo.get_by_text("Figure.").count() == 0


@pytest.mark.browser
def test_every_combination_of_controls_shows_its_own_picture(demo):
    figure = demo.locator(".gahb-explore").nth(1)
    slider = figure.locator("input[type=range]")
    assert figure.locator("img:visible").get_attribute("alt") == "a curve; σ = 0.1, power = two"
    seen = []
    for value in range(4):
        slider.fill(str(value))
        for power in ("one", "two"):
            figure.get_by_label(power, exact=True).check()
            seen.append(figure.locator("img:visible").get_attribute("alt"))
    wanted = [(s, p) for s in (0.05, 0.1, 0.2, 0.4) for p in ("one", "two")]
    assert seen == [f"a curve; σ = {s}, power = {p}" for s, p in wanted]
    assert figure.locator(".gahb-value").inner_text() == "0.4"


@pytest.mark.browser
@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_play_button_turns_the_pages_or_steps(browser, demo_html, motion):
    with browser.new_context(reduced_motion=motion) as context:
        page = context.new_page()
        page.goto(f"{demo_html.as_uri()}/{DEMO}")
        slider = page.locator("input[type=range]").first
        if motion == "reduce":
            button = page.get_by_role("button", name="Next σ")
            button.click()
            page.wait_for_timeout(1000)
            assert slider.input_value() == "1"
            return
        page.get_by_role("button", name="Play σ").click()
        assert page.get_by_role("button", name="Pause σ").is_visible()
        page.wait_for_function("() => document.querySelector('input[type=range]').value === '3'")
        assert page.get_by_role("button", name="Play σ").is_visible()  # it stops at the end
        assert page.locator(".gahb-explore img:visible").first.get_attribute("alt").endswith("0.4")


@pytest.mark.browser
def test_page_without_a_script_shows_each_first_picture(browser, demo_html):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{demo_html.as_uri()}/{DEMO}")
        assert page.locator("figure img:visible").count() == 4
        assert page.locator(".gahb-controls:visible").count() == 0


@pytest.mark.browser
def test_figures_can_be_read_and_moved_on_a_phone(browser, demo_html):
    with browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True) as context:
        page = context.new_page()
        page.goto(f"{demo_html.as_uri()}/{DEMO}", wait_until="load")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        slider = page.locator("input[type=range]").first
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] - 5, box["y"] + box["height"] / 2)
        assert slider.input_value() == "3"
        assert box["height"] >= 24
        for frames in page.locator(".gahb-frames").all():
            scrolls = frames.evaluate("f => f.scrollWidth > f.clientWidth + 1")
            assert frames.get_attribute("tabindex") == ("0" if scrolls else None)


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 360, 1280])
def test_long_words_and_formulas_make_no_page_wider_than_its_window(browser, demo_html, width):
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.goto(f"{demo_html.as_uri()}/{DEMO}", wait_until="load")
        page.wait_for_function(SETTLED)
        page.wait_for_function("document.querySelector('.gahb-long[tabindex]')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".gahb-long").count() == 1  # not the short one
        page.set_viewport_size({"width": 4_000, "height": 800})
        page.add_style_tag(content="* {max-width: none !important}")
        page.evaluate("dispatchEvent(new Event('resize'))")
        assert page.locator(".gahb-long, mjx-container[tabindex='0'][aria-label]").count() == 0


@pytest.mark.browser
def test_captions_begin_at_the_left(demo):
    for caption in demo.locator("figure > figcaption").all():
        left = caption.evaluate(
            """c => {
                const words = document.createRange();
                words.selectNodeContents(c);
                return words.getClientRects()[0].left - c.getBoundingClientRect().left;
            }"""
        )
        assert abs(left) < 1


@pytest.mark.browser
def test_controls_that_were_reset_without_an_event_get_their_pictures_again(demo):
    """WebKit's back button: the page is kept, and its controls are set back silently."""
    slider = demo.locator(".gahb-explore").nth(1).locator("input[type=range]")
    first = demo.locator(".gahb-explore input[type=range]").first
    slider.fill("3")
    first.fill("2")
    demo.evaluate(
        """() => {
            dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}));
            const inputs = document.querySelectorAll('.gahb-explore input[type=range]');
            inputs.forEach(input => (input.value = input.defaultValue));
            document.querySelector('.gahb-explore input[type=radio]').checked = true;
        }"""
    )
    figures = demo.locator(".gahb-explore")
    shown = figures.nth(1).locator("img:visible")
    demo.wait_for_function("document.querySelectorAll('.gahb-value')[1].textContent === '0.1'")
    assert shown.get_attribute("alt") == "a curve; σ = 0.1, power = one"
    assert figures.first.locator("img:visible").get_attribute("alt").endswith("0.05")


@pytest.mark.browser
def test_a_browser_without_has_runs_the_script_of_the_page(browser, demo_html):
    """As Firefox before 121: a selector that it does not know is an error."""
    with browser.new_context(viewport={"width": 360, "height": 800}) as context:
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(
            """for (const kind of [Document, Element]) {
                const find = kind.prototype.querySelectorAll;
                kind.prototype.querySelectorAll = function (words) {
                    if (words.includes(':has(')) throw new SyntaxError(`unknown: ${words}`);
                    return find.call(this, words);
                };
            }"""
        )
        page.goto(f"{demo_html.as_uri()}/{DEMO}", wait_until="load")
        page.wait_for_function("document.querySelector('.gahb-long[tabindex]')")
        assert errors == []


def moves_before_all_is_loaded(page, address: str) -> bool:
    """Return whether a key on the page's first control changes its picture before all is loaded."""
    page.add_init_script(
        """let told;
        window.moved = new Promise(done => told = done);
        addEventListener('load', () => told(false));
        new MutationObserver((_, observer) => {
            const input = document.querySelector('.gahb-explore figcaption') &&
                document.querySelector('.gahb-control input:not(:checked)');
            if (!input) return;
            const shown = () => [...input.closest('.gahb-explore').querySelectorAll('img')]
                .findIndex(img => !img.hidden);
            const before = shown();
            if (input.type === 'radio') {
                input.click();
            } else {
                input.value = input.value === input.max ? 0 : Number(input.value) + 1;
                input.dispatchEvent(new Event('input', {bubbles: true}));
            }
            if (shown() === before) return;
            observer.disconnect();
            told(true);
        }).observe(document, {childList: true, subtree: true});"""
    )
    page.goto(address, wait_until="commit")
    return page.evaluate("window.moved")


def bytes_of_scripts_before(page_file, mark) -> int:
    """Return the bytes of scripts that a page runs before `mark` stands in it, not deferred."""
    head = page_file.read_text(encoding="utf-8").partition(mark)[0]
    total = 0
    for tag, inline in re.findall(r"<script\b([^>]*)>(.*?)</script>", head, re.DOTALL):
        source = re.search(r'src="([^"?]+)', tag)
        if not re.search(r"\b(?:defer|async)\b", tag) and "json" not in tag:
            file = page_file.parent / source[1] if source else None
            total += file.stat().st_size if file else len(inline.encode())
    return total


@pytest.mark.browser
def test_first_control_is_usable_before_the_page_is_loaded(browser, built_book):
    """From disk, and after few bytes of scripts: what makes it quick is counted, not timed."""
    control = 'class="gahb-control"'
    pages = [path for path in PAGES if control in (built_book / path).read_text()]
    assert len(pages) > 20
    heavy = {path: bytes_of_scripts_before(built_book / path, control) for path in pages}
    assert {path: num for path, num in heavy.items() if num > MOST_BEFORE} == {}
    late = []
    for path in pages:
        with browser.new_context() as context:
            if not moves_before_all_is_loaded(context.new_page(), f"{built_book.as_uri()}/{path}"):
                late.append(path)
    assert late == []


@pytest.mark.browser
@pytest.mark.parametrize("where", ["file", "http"])
def test_search_finds_a_page(browser, demo_html, where):
    with serve(demo_html) as origin:
        start = demo_html.as_uri() + "/" if where == "file" else origin
        with open_page(browser, start, "search.html?q=mathematics", "light") as (page, wrong):
            page.wait_for_selector("#search-results li a")
            assert "demo.html" in page.locator("#search-results li a").first.get_attribute("href")
            assert wrong == []


def test_a_book_with_an_address_has_a_map_previews_and_a_page_for_wrong_ones(demo_html):
    assert (
        "<loc>https://book.example/book/demo.html</loc>" in (demo_html / "sitemap.xml").read_text()
    )
    page = (demo_html / DEMO).read_text()
    assert '<meta property="og:url" content="https://book.example/book/demo.html">' in page
    assert '<meta name="description" content="Mathematics' in page
    wrong = (demo_html / "404.html").read_text()
    assert '<base href="https://book.example/">' in wrong
    assert "No such page" in wrong


def test_the_executed_notebook_can_be_downloaded(demo_html):
    assert 'href="../_sources/book/demo.ipynb"' in (demo_html / DEMO).read_text()
    cells = nbformat.read(demo_html / "_sources/book/demo.ipynb", as_version=4).cells
    assert any(cell.get("outputs") for cell in cells)


# --- the pages of the book, each loaded once in each theme ------------------------------------


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light"])
@pytest.mark.parametrize("path", PAGES)
def test_scripts_of_a_page_are_light(browsed, path, theme):
    assert 0 < browsed(path, theme).script_bytes <= MAX_SCRIPT_BYTES


@pytest.mark.browser
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_on_a_built_page(browsed, axe, path, theme):
    assert browsed(path, theme).violations == []


@pytest.mark.browser
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("path", PAGES)
def test_built_page_works_without_kernel_over_http(browsed, path, theme):
    assert browsed(path, theme).complaints == []


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
