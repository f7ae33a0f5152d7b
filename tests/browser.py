"""What the tests of pages need: a server, a browser, and the questions asked of each page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path
from threading import Thread
from typing import NamedTuple

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
OWN_SCHEMES = ("data:", "blob:", "about:")
# all is loaded, and page.js has seen the page with its formulas and fonts
SETTLED = """() => document.readyState === 'complete' && document.fonts.status === 'loaded'
    && (window.MathJax?.startup?.promise?.then(() => true) ?? true)"""
# the figure of a control, and the pictures of it that can be seen
VISIBLE_PICTURES = """handle => {
    const box = handle.closest('.gahb-explore');
    const seen = [...box.querySelectorAll('img')].filter(img => img.offsetParent !== null);
    return seen.map(img => img.src).join(' ');
}"""
UNNAMED = """() => [...document.images]
    .filter(img => !img.alt.trim() || /\\.(png|svg|jpe?g)$/.test(img.alt))
    .map(img => img.outerHTML.slice(0, 120))"""
# words of figures whose colour is too near that of their ground (WCAG contrast below 4.5)
FAINT = """() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const luminance = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    const ground = element => {
        const own = rgba(getComputedStyle(element).backgroundColor);
        return own[3] || !element.parentElement ? own : ground(element.parentElement);
    };
    const words = document.querySelectorAll(
        '.gahb-control *, .gahb-caption, .gahb-caption *, .gahb-note, .cell_output :is(pre, p)');
    return [...words].filter(e => e.offsetParent && e.textContent.trim()).map(element => {
        const pair = [rgba(getComputedStyle(element).color), ground(element)].map(luminance);
        const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        return contrast < 4.5 ? `${element.textContent.slice(0, 40)} (${contrast.toFixed(1)})` : '';
    }).filter(Boolean);
}"""


def find_chromium() -> str | None:
    """Return the path of a Chromium (GAHB_CHROMIUM, or one on the PATH), or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("GAHB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        """Keep the requests out of the test's output."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Yield the address of a server of `folder` on this machine only."""
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def open_page(browser, origin: str, path: str, theme: str, answers: list | None = None):
    """Yield (page, complaints): a loaded page, and all that it did wrong so far, in words.

    The list `answers`, if given, gets every response that the page was sent.
    """
    complaints: list[str] = []
    with browser.new_context(color_scheme=theme, reduced_motion="reduce") as context:
        page = context.new_page()

        def on_route(route) -> None:
            url = route.request.url
            if url.startswith((origin, *OWN_SCHEMES)):
                route.continue_()
            else:
                complaints.append(f"asks another origin for {url}")
                route.abort()

        page.route("**/*", on_route)
        page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))
        page.on(
            "console",
            lambda said: said.type == "error" and complaints.append(f"console: {said.text}"),
        )
        if answers is not None:
            page.on("response", lambda answer: answers.append(answer))
        page.goto(origin + path, wait_until="networkidle")
        page.wait_for_function(SETTLED, timeout=120_000)  # an idle network may mean a busy script
        yield page, complaints


def controls(page) -> list:
    """Return the sliders and the first buttons of groups that the page shows."""
    found = page.locator(".gahb-control input[type=range], .gahb-choices label:first-child input")
    return found.element_handles()


def drive(page, control) -> list[str]:
    """Return what is wrong with one control: its name, or a picture that an arrow key leaves."""
    name = control.evaluate("c => (c.labels[0] ?? c).textContent.trim()")
    complaints = [] if name else ["a control has no label"]
    control.scroll_into_view_if_needed()
    control.evaluate("c => (c.closest('.gahb-choices')?.querySelector(':checked') ?? c).focus()")
    seen = f"() => ({VISIBLE_PICTURES})(document.activeElement)"
    before = page.evaluate(seen)
    at_end = control.evaluate("c => c.type === 'range' && c.value === c.max")
    for key in ("ArrowLeft", "ArrowRight") if at_end else ("ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        after = page.evaluate(seen)
        if before == after or len(after.split(" data:")) != 1:
            complaints.append(f"control {name!r}: {key} leaves the picture as it was")
        before = after
    return complaints


def violations(page, axe: str) -> list[str]:
    """Return what axe-core, given as its source, finds wrong with a page, in words."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    return page.evaluate(
        """() => axe.run(document, {resultTypes: ['violations']}).then(found => found.violations
        .flatMap(v => v.nodes.map(n => `${v.id} (${v.impact}): ${n.html.slice(0, 160)}`)))"""
    )


def faults(page, theme: str) -> list[str]:
    """Return what is wrong with a loaded page in one theme: its controls, pictures and words."""
    found = [fault for control in controls(page) for fault in drive(page, control)]
    found += [f"no alt text (see show_figure): {img}" for img in page.evaluate(UNNAMED)]
    found += [f"hard to read: {text}" for text in page.evaluate(FAINT)]
    if page.evaluate("document.documentElement.dataset.theme ?? null") not in (None, theme):
        found.append(f"the page does not follow the {theme} theme")
    return found


class Findings(NamedTuple):
    """What one page, loaded in one theme, weighs and does wrong."""

    script_bytes: int
    violations: list[str]  # of axe's rules, before a control was moved; empty without axe
    complaints: list[str]


def find(browser, origin: str, path: str, theme: str, axe: str | None = None) -> Findings:
    """Return what is found in one page in one theme; `axe` is the source of axe-core, if any."""
    answers: list = []
    with open_page(browser, origin, path, theme, answers) as (page, complaints):
        sizes = [len(a.body()) for a in answers if a.request.resource_type == "script"]
        against = violations(page, axe) if axe else []
        return Findings(sum(sizes), against, faults(page, theme) + complaints)


def complaints_of(browser, origin: str, path: str, theme: str) -> list[str]:
    """Return all that is wrong with one page in one theme; an empty list is a good page."""
    return find(browser, origin, path, theme).complaints


@cache
def _launch(chromium: str):
    from playwright.sync_api import sync_playwright

    return sync_playwright().start().chromium.launch(executable_path=chromium, args=FLAGS)


def find_elsewhere(chromium: str, *args) -> Findings:
    """Return what `find` does, by the browser of this process of `browsers`."""
    return find(_launch(chromium), *args)


@contextmanager
def browsers() -> Iterator[Pool]:
    """Yield as many processes as there are cores, for `find_elsewhere`.

    They are killed at the end: a page that never answers holds up no other.
    """
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        yield pool
