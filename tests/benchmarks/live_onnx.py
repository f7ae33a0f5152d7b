"""The live kernel beside onnxruntime-web, the same network in one browser: adds to live.json.

What it needs is installed for this alone, into a folder of its own:

    pip install --target FOLDER/py onnx
    npm install --prefix FOLDER onnxruntime-web
    python tests/benchmarks/live_onnx.py FOLDER

One thread each, batches of 100 passes in turn. onnxruntime-web has no derivatives: this is the
forward pass of the laptop UNet at 32×32 alone.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "book"))
from browser import FLAGS, find_chromium, serve
from live import OUT, TIMES, both
from playwright.sync_api import sync_playwright
from test_browser_figures import NETWORK, file_of, write_site

from gahb_book.site.assets import read_fragment
from gahb_core.files import write_safely
from gahb_core.networks.models import fold_norm
from gahb_core.training import load

TURNS, RUNTIME = 5, ("ort.wasm.min.js", "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.mjs")
START = """async () => {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = new URL("../ort/", location.href).href;
    window.session = await ort.InferenceSession.create("../ort/net.onnx");
}"""
THEIRS = """async count => {
    const pixels = Float32Array.from({length: 1024}, Math.random);
    const y = new ort.Tensor("float32", pixels, [1, 1, 32, 32]);
    const times = [];
    for (let i = 0; i < count; i++) {
        const begin = performance.now();
        await session.run({y});
        times.push(performance.now() - begin);
    }
    return times;
}"""


def export(folder: Path, into: Path) -> None:
    """Write the laptop UNet as ONNX, and the runtime's files beside it."""
    sys.path.append(str(folder / "py"))
    into.mkdir(parents=True)
    for name in RUNTIME:
        shutil.copy(folder / "node_modules" / "onnxruntime-web" / "dist" / name, into / name)
    net = fold_norm(load(NETWORK).net).eval()
    y = torch.rand(1, 1, 32, 32)
    torch.onnx.export(net, (y,), into / "net.onnx", input_names=["y"], dynamo=False)


def main() -> None:
    """Measure both and write; without a folder say what is needed."""
    if len(sys.argv) < 2:
        print(__doc__)
        return
    torch.set_num_threads(1)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = write_site(Path(folder) / "site", read_fragment("front"))
        export(Path(sys.argv[1]), site / "ort")
        with serve(site) as origin:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
            page = browser.new_page()
            page.goto(origin + "book/0.html")
            page.wait_for_selector(".gahb-live-stage")
            page.evaluate("() => GAHB.library()")
            page.add_script_tag(url=origin + "ort/ort.wasm.min.js")
            page.evaluate(START)
            call = {"net": file_of(NETWORK), "plain": False, "count": 100}
            for _ in range(TURNS):
                ours += page.evaluate(TIMES, call)
                theirs += page.evaluate(THEIRS, 100)
            browser.close()
        size = sum((site / "ort" / name).stat().st_size for name in RUNTIME)
    found = {name: both(times, 2) for name, times in (("theirs", theirs), ("ours", ours))}
    found |= {"ratio": round(found["ours"]["median"] / found["theirs"]["median"], 2)}
    found |= {"least_ratio": round(found["ours"]["least"] / found["theirs"]["least"], 2)}
    found |= {"bytes": size}
    content = json.loads(OUT.read_text()) | {"onnxruntime_web_ms": found}
    write_safely(OUT, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    print(found)


if __name__ == "__main__":
    main()
