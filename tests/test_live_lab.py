"""A live figure in a real JupyterLab: an anywidget, its network sent by the kernel."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
CELLS = ["from gahb_core import live", "live.explore_disk()"]


def _notebook(path):
    cells = [
        {"cell_type": "code", "id": f"c{i}", "execution_count": None, "metadata": {}}
        | {"outputs": [], "source": source}
        for i, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(content))


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab on this machine only, in a folder with one notebook."""
    _notebook(tmp_path / "figure.ipynb")
    homes = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    environment = {k: v for k, v in os.environ.items() if k != "GAHB_PAGE"} | homes
    root = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
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


def test_a_live_figure_works_in_jupyterlab_with_weights_from_the_kernel(browser, lab):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{lab}lab/tree/figure.ipynb")
        page.locator(".jp-Notebook .jp-CodeCell").nth(1).wait_for(timeout=120_000)
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
