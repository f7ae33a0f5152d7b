"""How exact and how fast the live networks are in Chromium: writes book/measured/live.json.

    python tests/benchmarks/live.py

Errors are against torch, over one network of each kind that ships; times are those of the laptop
UNet at 32×32, in the worker, the median and the least of several turns (a machine that does other
work as well slows the median). About a minute.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "book"))
from browser import FLAGS, find_chromium
from playwright.sync_api import sync_playwright
from test_browser_figures import CALL, CHAPTERS, DIRECT, KINDS, NETWORK, file_of, flat, write_site

from gahb_book import browser
from gahb_book.site.assets import read_fragment
from gahb_core.data import load_images
from gahb_core.files import write_safely
from gahb_core.noise import add_noise, make_generator
from gahb_core.training import load_denoiser

OUT = Path(__file__).parents[2] / "book" / "measured" / "live.json"
TURNS = 5
TIMES = """async ({net, plain, count}) => {
    await GAHB.network(net);
    await GAHB.call("load", {name: net.name, plain});
    const y = GAHB.methods.noise(1024, 1).map(z => .5 + .3 * z);
    const args = {net: net.name, y, H: 32, W: 32};
    await GAHB.call("time", {...args, count: plain ? 2 : 100}); // the browser compiles it anew
    const times = await GAHB.call("time", {...args, count});
    await GAHB.call("load", {name: net.name, plain: false});
    return times;
}"""


def errors(page) -> tuple[dict[str, float], float]:
    """Return the relative error of f(y) of each kind, and the largest gap of the adjoint."""
    found, adjoint = {}, 0.0
    for name, side in KINDS:
        header, data = browser.network_file(name)
        out = header["channels"]["out"]
        y, v, u = torch.randn(3, 1, out, side, side, generator=make_generator(3))
        y = 0.5 + 0.3 * y
        given = torch.rand(1, 1, side, side, generator=make_generator(4)) if out == 3 else None
        f = load_denoiser(name)
        with torch.no_grad():
            exact = (f(y) if given is None else f(y, None, given)).numpy().ravel()
        told = None if given is None else flat(given)
        args = {"header": header, "data": data, "H": side, "W": side, "plain": False}
        args |= {"y": flat(y), "v": flat(v), "u": flat(u), "given": told}
        got = page.evaluate(DIRECT, args)
        found[name] = float(np.linalg.norm(got["estimate"] - exact) / np.linalg.norm(exact))
        u_Jv, v_Ju = np.dot(flat(u), got["push"]), np.dot(flat(v), got["pull"])
        adjoint = max(adjoint, abs(u_Jv - v_Ju) / (u.norm().item() * np.linalg.norm(got["push"])))
    return found, adjoint


def seconds(page, kind: str, **args) -> list[float]:
    """Return how long a job of the worker takes, in TURNS turns."""
    timed = f"async a => {{ const t = performance.now(); await ({CALL})(a); "
    timed += "return (performance.now() - t) / 1000; }"
    call = {"net": file_of(NETWORK), "kind": kind, "args": {"H": 32, "W": 32, **args}}
    return [page.evaluate(timed, call) for _ in range(TURNS)]


def both(values: list[float], digits: int) -> dict[str, float]:
    return {"median": round(float(np.median(values)), digits), "least": round(min(values), digits)}


def measure(page) -> dict:
    """Return all figures, from a page that has the engine."""
    page.evaluate("() => GAHB.library()")
    found, adjoint = errors(page)
    y = flat(add_noise(load_images("fashion", "test", 4, 32)[3:], 0.3, 0))
    start = flat(0.5 + torch.randn(1024, generator=make_generator(0)))
    times = {
        plain: page.evaluate(
            TIMES, {"net": file_of(NETWORK), "plain": plain, "count": 10 if plain else 200}
        )
        for plain in (False, True)
    }
    return {
        "max_error": float(f"{max(found.values()):.1e}"),
        "errors": {name: float(f"{error:.1e}") for name, error in found.items()},
        "adjoint_error": float(f"{adjoint:.1e}"),
        "forward_ms": both(times[False], 2),
        "forward_plain_ms": both(times[True], 1),
        "eigenpairs_s": both(seconds(page, "eigenpairs", y=y, num=12, tol=0.02), 2),
        "sample_s": both(seconds(page, "ascend", y=start, beta=0.1, sigmaEnd=0.01), 2),
        "network_bytes": len(browser.network_script(NETWORK)),
        "figures": 1 + len(CHAPTERS),
        "browser": page.context.browser.version,
    }


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = write_site(Path(folder) / "site", read_fragment("front"))
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        page = browser.new_page()
        page.goto(site.as_uri() + "/book/0.html")
        page.wait_for_selector(".gahb-live-stage")
        figures = measure(page)
        browser.close()
    before = json.loads(OUT.read_text()) if OUT.is_file() else {}  # of live_onnx.py
    content = json.dumps(before | figures, indent=1, ensure_ascii=False)
    write_safely(OUT, (content + "\n").encode())
    print(OUT.read_text())


if __name__ == "__main__":
    main()
