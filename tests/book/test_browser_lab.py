"""A real JupyterLab: chapters run there, their sliders move, and networks come from the kernel."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.verify]
ROOT = Path(__file__).parents[2]
CHAPTERS = ["01_tweedie", "04_fixed_bases"]
# cells that are scrolled out of sight stay in the page, where a test can find them
SETTINGS = {"windowingMode": "none"}
# every cell that holds something has its number
ALL_DONE = """() => {
    const prompts = [...document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt")];
    return prompts.length > 5 && prompts.every(p => /\\d/.test(p.textContent));
}"""
DRAWN = """e => [...e.querySelectorAll("canvas, svg")]
    .map(c => c.toDataURL?.() ?? c.innerHTML).join()"""
CELLS = ["from gahb_book import chapters", "chapters.explore_disk()"]


def _notebook(path):
    cells = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "metadata": {}}
        | {"outputs": [], "source": source}
        for i, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab on this machine only, in a folder with a few notebooks."""
    tmp_path = tmp_path_factory.mktemp("lab")
    _notebook(tmp_path / "figure.ipynb")
    for name in CHAPTERS:
        shutil.copy(ROOT / "book" / f"{name}.ipynb", tmp_path)
    homes = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
    homes = {name: str(tmp_path / name) for name in homes}
    settings = tmp_path / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps(SETTINGS))
    environment = {k: v for k, v in os.environ.items() if k != "GAHB_PAGE"} | homes
    paths = (str(ROOT), environment.get("PYTHONPATH"))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}"]
    command += ["--ip=127.0.0.1", "--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--ServerApp.port_retries=0", "--allow-root", "--LabApp.news_url="]
    log = (tmp_path / "log.txt").open("w")
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((tmp_path / "log.txt").read_text()[-2000:])
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _open(page, lab, name):
    """Open a notebook, and wait until its kernel is connected.

    Cells run before would ask which kernel is meant. A workspace of its own holds no notebook that
    another test left open.
    """
    page.goto(f"{lab}lab/workspaces/{name}/tree/{name}.ipynb")
    page.locator(".jp-Notebook .jp-CodeCell").nth(1).wait_for(timeout=120_000)
    for _ in range(240):
        with urllib.request.urlopen(f"{lab}api/sessions", timeout=10) as answer:
            sessions = json.load(answer)
        kernels = [s["kernel"] for s in sessions if s["path"] == f"{name}.ipynb"]
        if any(k["connections"] and k["execution_state"] == "idle" for k in kernels):
            return
        time.sleep(0.5)
    pytest.fail(f"no kernel is connected after two minutes: {sessions}")


def test_a_live_figure_works_in_jupyterlab_with_weights_from_the_kernel(browser, lab):
    with browser.new_context() as context:
        page = context.new_page()
        _open(page, lab, "figure")
        page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
        for _ in CELLS:
            page.keyboard.press("Shift+Enter")
        page.wait_for_selector(".gahb-live-stage", timeout=180_000)
        canvas = page.locator(".gahb-live-panel canvas").nth(2)
        before = canvas.evaluate("c => c.toDataURL()")
        slider = page.get_by_role("slider", name="radius")
        slider.scroll_into_view_if_needed()
        slider.fill("9")
        status = page.locator(".gahb-live-status").filter(has_text="the least exact of 12")
        status.wait_for(timeout=120_000)
        assert canvas.evaluate("c => c.toDataURL()") != before
        assert page.locator(".gahb-live-said").text_content() == ""
        assert page.locator("script[src*='_static/networks']").count() == 0  # the kernel sent it


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_runs_in_jupyterlab_and_its_figures_move(browser, lab, name):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        _open(page, lab, name)
        page.locator(".lm-MenuBar-item", has_text="Run").click()
        page.locator(".lm-Menu-item", has_text="Run All Cells").first.click()
        page.wait_for_function(ALL_DONE, timeout=400_000)
        assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0

        flipbook = page.locator(".jp-OutputArea-output", has=page.locator(".noUi-handle")).first
        picture = flipbook.locator("img:visible")
        handle = flipbook.locator(".noUi-handle").first
        handle.scroll_into_view_if_needed()
        before = picture.first.get_attribute("src")
        handle.focus()
        for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):  # one of them is not at an end
            handle.press(key)
        page.wait_for_timeout(500)
        assert picture.first.get_attribute("src") != before

        live = page.locator(".jp-OutputArea-output", has=page.locator(".gahb-live-stage")).first
        slider = live.locator("input[type=range]").first
        slider.scroll_into_view_if_needed()
        before = live.evaluate(DRAWN)
        slider.fill(slider.get_attribute("max"))
        page.wait_for_function(
            f"([e, before]) => ({DRAWN})(e) !== before", arg=[live.element_handle(), before]
        )
