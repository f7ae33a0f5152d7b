"""The live networks outside the browser: files of networks, figures, what a build adds."""

import base64
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toys import Toy, conv, make_toy

from gahb_book import browser, chapters
from gahb_book.browser.figure import STATIC
from gahb_book.chapters.start import draw_blur, encode_start, fit_start
from gahb_book.site.assets import _lighten, find_networks, page_assets
from gahb_core.data import load_images
from gahb_core.networks.layers import PUSH, SUBTRACT
from gahb_core.networks.models import BFCNN, UNet, fold_norm
from gahb_core.networks.transformer import Transformer
from gahb_core.networks.weights import initialize
from gahb_core.noise import make_generator
from gahb_core.training import load

ROOT = Path(__file__).parents[2]
PICTURE = np.zeros((4, 4, 3), np.uint8)
MAX_BEFORE_USE, MAX_NETWORK = 64_000, 1_400_000


def a_network(kind):
    """A small network whose norms are not at rest: as training leaves it, in full precision."""
    nets = {"unet": UNet(2, base=6), "bfcnn": BFCNN(5, 10, spatial_layers=(2,))}
    nets["details"] = BFCNN(4, 8, 4, 3, skip=True)
    nets["residual"] = BFCNN(4, 8, 4, 3, residual=True)
    net, generator = initialize(nets[kind], 0), make_generator(1)
    for name, value in net.state_dict().items():
        if name.endswith(("gammas", "running_sd")):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        else:
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return net.eval()


def unpack(header, content):
    """Read the weights back by another way than the engine's; norms folded."""
    sizes, at, found = {"half": ("<f2", 2), "float": ("<f4", 4), "steps": ("<i2", 2)}, 0, []
    weighted = [layer for layer in header["layers"] if layer[0] in ("conv", "up")]
    for layer, (kind, scaled) in zip(weighted, header["stored"], strict=True):
        up = layer[0] == "up"
        shape = (layer[1], layer[2], 2, 2) if up else (layer[2], layer[1], layer[3], layer[3])
        count, (code, width) = int(np.prod(shape)), sizes[kind]
        w = np.frombuffer(content, code, count, at).astype(np.float32).reshape(shape)
        at += count * width
        if scaled:
            scale = np.frombuffer(content, "<f4", shape[0], at)
            w, at = w * scale.reshape(-1, 1, 1, 1), at + 4 * shape[0]
        found.append(w)
    assert at == len(content)
    return found


def folded_weights(net):
    """The weights of the network whose norms are folded, in the order in which they run."""
    net = fold_norm(net)
    if isinstance(net, BFCNN):
        return [conv.weight.detach().numpy() for conv in net.conv_layers]
    parts = [*net.encoder, net.mid_block]
    for b in reversed(range(len(net.encoder))):
        parts += [net.upsample[b], net.decoder[b]]
    kinds = nn.Conv2d | nn.ConvTranspose2d
    modules = [m for part in parts for m in part.modules() if isinstance(m, kinds)]
    return [m.weight.detach().numpy() for m in modules]


# --- the file of a network ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unet", "bfcnn", "details", "residual"])
def test_a_packed_network_holds_the_folded_weights_in_order(kind):
    net = a_network(kind)
    header, content = browser.pack_network(net, kind)
    for packed, folded in zip(unpack(header, content), folded_weights(net), strict=True):
        assert packed.shape == folded.shape
        largest = abs(folded).reshape(len(folded), -1).max(1).reshape(-1, 1, 1, 1)
        assert (abs(packed - folded) <= largest / 32_767).all()
    assert header["sha256"] == hashlib.sha256(content).hexdigest()
    assert header["estimate"] == ("direct" if kind == "details" else "residual")


def test_halves_are_kept_as_they_are():
    name = "local/faces/pixel/RF=9"
    header, text = browser.network_file(name)
    assert {kind for kind, _ in header["stored"][:-1]} == {"half"}
    first = unpack(header, base64.b64decode(text))[0]
    np.testing.assert_array_equal(first, load(name).net.conv_layers[0].weight.numpy())


def test_weights_that_no_half_holds_are_rounded_eight_times_finer():
    net = a_network("unet")
    big = net.mid_block[3].weight.detach()
    header, content = browser.pack_network(net, "x")
    kinds = [kind for kind, _ in header["stored"]]
    assert "steps" in kinds
    assert "half" not in kinds
    i = next(i for i, w in enumerate(unpack(header, content)) if w.shape == tuple(big.shape))
    exact = fold_norm(net).mid_block[3].weight.detach().numpy()
    error = unpack(header, content)[i] - exact
    halves = (big.half().float() - big).numpy() * (exact / np.where(big == 0, 1, big.numpy()))
    assert np.sqrt((error**2).mean()) < np.sqrt((halves**2).mean()) / 4


@pytest.mark.parametrize("name", ["fashion/N=10000/A", "fashion/N=1/B", "bfcnn/fashion/N=10/A"])
def test_a_network_weighs_what_it_may(name):
    assert len(browser.network_script(name)) <= MAX_NETWORK


def test_the_script_hands_over_header_and_weights():
    text = browser.network_script("local/c_alpha/details=2/RF=5")
    match = re.fullmatch(r'GAHB\.receive\((\{.*\}),\n"([\w+/=]+)"\);\n', text)
    header = json.loads(match[1])
    assert hashlib.sha256(base64.b64decode(match[2])).hexdigest() == header["sha256"]
    assert header["channels"] == {"in": 4, "out": 3}


def test_networks_whose_first_layer_has_a_relu_say_so_and_those_told_sigma_are_refused():
    header, _ = browser.pack_network(BFCNN(4, 8, first_relu=True), "2021")
    assert [layer[4] for layer in header["layers"]] == [1, 1, 1, 0]
    with pytest.raises(ValueError, match="net must be convolutional, and 'x' is a Transformer"):
        browser.pack_network(Transformer(8, 32, 1), "x")
    with pytest.raises(ValueError, match="net must have steps of .*, and 'x' has a 'gelu'"):
        browser.pack_network(UNet(2, base=4, smooth=True), "x")
    with pytest.raises(ValueError, match="net must have kernels of 1×1 and 3×3, unlike 'x'"):
        browser.pack_network(make_toy("wide kernels"), "x")
    with pytest.raises(ValueError, match="net must subtract from its input at its end alone"):
        browser.pack_network(Toy(conv(1, 1), PUSH, conv(1, 1), SUBTRACT), "x")
    with pytest.raises(ValueError, match="net must be blind, .* and 'x' is told σ"):
        browser.pack_network(UNet(2, base=4, channels_in=2, channels_out=1), "x")


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="name must be a recipe of 'laptop'"):
        browser.network_script("elephants")


# --- figures --------------------------------------------------------------------------------


def a_figure(monkeypatch, page, **more):
    monkeypatch.setenv("GAHB_PAGE", "1") if page else monkeypatch.delenv("GAHB_PAGE", False)
    options = {"picture": PICTURE, "alt": 'a "black" square', "caption": "See <em>this</em>."}
    return browser.explore_network("front", ["disks", "ray"], **options | more)


def test_in_a_page_a_figure_is_its_picture_and_plain_html(monkeypatch):
    text = a_figure(monkeypatch, page=True, data={"a": "</script>"}).data
    assert '<img class="gahb-live-picture" alt="a &quot;black&quot; square"' in text
    assert find_networks(text) == [("laptop", "disks"), ("laptop", "ray")]
    assert find_networks(json.dumps([text])) == [("laptop", "disks"), ("laptop", "ray")]
    content = re.search(r'class="gahb-live-data">(.*?)</script>', text, re.S)[1]
    data = json.loads(content)
    assert data["a"] == "</script>"
    assert data["networks"][1] == {"name": "ray", "file": "ray.js", "label": "ray"}
    assert "require" not in text


def test_in_a_notebook_a_figure_is_a_widget_that_sends_its_networks(monkeypatch):
    widget = a_figure(monkeypatch, page=False)
    sent = []
    monkeypatch.setattr(widget, "send", sent.append)
    for name in ("disks", "elephants"):
        widget._answer(widget, {"name": name}, [])
    assert sent[0]["header"]["name"] == "disks"
    assert (sent[0]["header"], sent[0]["data"]) == browser.network_file("disks")
    assert "no network 'elephants'" in sent[1]["error"]
    assert "gahbEngine" in widget._esm
    assert "export default" in widget._esm


def test_a_widget_says_why_a_network_is_missing(monkeypatch, tmp_path):
    widget = a_figure(monkeypatch, page=False)
    sent = []
    monkeypatch.setattr(widget, "send", sent.append)
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    widget._answer(widget, {"name": "ray"}, [])
    assert "gahb train ray" in sent[0]["error"]


def test_a_figure_of_no_script_or_no_words_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="figure must be one of .*front.*, not 'side'"):
        browser.explore_network("side", [], PICTURE, alt="alt", caption="caption")
    with pytest.raises(ValueError, match="alt must say what the picture shows"):
        a_figure(monkeypatch, page=True, alt=" ")


def test_signed_colours_are_white_at_zero_and_told_apart():
    colours = chapters.signed_colours(torch.tensor([[-1.0, 0.0, 1.0]]))
    assert colours[0, 1].tolist() == [255, 255, 255]
    assert colours[0, 0, 2] > colours[0, 0, 0]
    assert colours[0, 2, 0] > colours[0, 2, 2]


def test_the_posterior_on_the_line_is_that_of_a_fine_grid():
    y, sigma = 0.37, 0.11
    prior = {"weights": [0.3, 0.7], "means": [0.1, 0.6], "deviations": [0.02, 0.2]}
    w, m, s = chapters.mixture_posterior(y, sigma, **prior)
    x = np.linspace(-3, 4, 200_001)
    normal = lambda x, m, s: np.exp(-(((x - m) / s) ** 2) / 2) / s  # noqa: E731
    p = sum(a * normal(x, b, c) for a, b, c in zip(*prior.values(), strict=True))
    p *= normal(x, y, sigma)
    mean = (p * x).sum() / p.sum()
    assert w @ m == pytest.approx(mean, rel=1e-6)
    variance = (p * (x - mean) ** 2).sum() / p.sum()
    assert w @ (s**2 + m**2) - mean**2 == pytest.approx(variance, rel=1e-6)


def test_the_figure_on_the_line_opens_where_its_arrow_is_long(monkeypatch):
    monkeypatch.setenv("GAHB_PAGE", "1")
    content = re.search(r'gahb-live-data">(.*?)</script>', chapters.explore_line().data, re.DOTALL)
    data = json.loads(content[1])
    prior = {key: data[key] for key in ("weights", "means", "deviations")}
    w, m, _ = chapters.mixture_posterior(data["y"], data["sigma"], **prior)
    low, high = data["range"]
    assert abs(w @ m - data["y"]) > 0.05 * (high - low)


def test_a_set_of_images_travels_as_bytes():
    header, text = browser.image_set("images:fashion:A:3:32")
    expected = np.rint(load_images("fashion", "A", 3, 32).numpy() * 255).astype(np.uint8)
    assert base64.b64decode(text) == expected.tobytes()
    assert header == {"format": 1, "name": "images:fashion:A:3:32", "pixels": 1024}
    assert '"images:fashion:A:3:32"' in browser.network_script("images:fashion:A:3:32")
    with pytest.raises(ValueError, match="name must be images:dataset:split:num:size, not 'images"):
        browser.network_script("images:fashion:A:many:32")


def test_a_fitted_start_has_the_mean_and_the_covariance_of_the_images():
    x = load_images("fashion", "A", 300, 16)
    fit = fit_start(x, 256)  # all axes: nothing is left out
    patterns = fit.patterns.flatten(1).double()
    flat = x.double().flatten(1)
    torch.testing.assert_close(fit.mean.flatten().double(), flat.mean(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(patterns.T @ patterns, torch.cov(flat.T), atol=1e-6, rtol=0)
    widest = fit_start(x, 4).patterns
    torch.testing.assert_close(widest.abs(), fit.patterns[:4].abs(), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="dim must lie in 1 … 256, not 300"):
        fit_start(x, 300)


def test_a_fitted_start_travels_in_bytes():
    fit = fit_start(load_images("fashion", "A", 300, 16), 20)
    sent = encode_start(fit)
    whole = np.frombuffer(base64.b64decode(sent["patterns"]), np.int8).reshape(20, 256)
    found = whole * np.array(sent["steps"])[:, None]
    most = np.abs(fit.patterns.flatten(1).numpy()).max(1, keepdims=True)
    assert np.all(np.abs(found - fit.patterns.flatten(1).numpy()) < most / 127)
    mean = np.frombuffer(base64.b64decode(sent["mean"]), np.uint8) / 255
    np.testing.assert_allclose(mean, fit.mean.flatten().numpy(), atol=0.5 / 255 + 1e-6)
    blurs = torch.cat([draw_blur(fit, seed) - fit.mean for seed in range(400)]).flatten(1)
    along = blurs @ torch.nn.functional.normalize(fit.patterns.flatten(1)).T
    ratio = along.var(0) / fit.patterns.flatten(1).square().sum(1)
    assert ratio.mean().item() == pytest.approx(1, abs=0.1)
    assert len({float(blur.sum()) for blur in blurs}) == 400


# --- what a build adds ----------------------------------------------------------------------


def test_pages_bring_the_networks_that_they_ask_for_and_no_others(monkeypatch):
    text = a_figure(monkeypatch, page=True).data
    assets = dict(page_assets(["no figure here", text]))
    assert {path for path in assets if path.startswith("networks")} == {
        "networks/disks.js",
        "networks/ray.js",
    }
    assert assets["networks/ray.js"].decode() == browser.network_script("ray")
    assert dict(page_assets(["no figure here"])) == {}


def test_the_front_page_weighs_little_before_it_is_used():
    before = os.environ.get("GAHB_PAGE")
    assets = dict(page_assets(["_static/live/front.html"]))
    assert os.environ.get("GAHB_PAGE") == before
    first = ("live/front.html", "live/front.js", "live/host.js", "live/live.css")
    assert sum(len(assets[path]) for path in first) <= MAX_BEFORE_USE
    assert sum(path.startswith("networks/") for path in assets) == 4


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.stem)
def test_no_two_controls_of_a_figure_share_a_name(path):
    named = re.findall(r'(?:group\(|label: )"([^"]*)"', path.read_text(encoding="utf-8"))
    assert sorted(named) == sorted(set(named))


def test_an_unknown_fragment_is_refused():
    with pytest.raises(ValueError, match="includes _static/live/back.html"):
        list(page_assets(["_static/live/back.html"]))


def test_scripts_lose_comments_and_nothing_else():
    source = '/** a\n *  b */\nlet a = "//x"; // kept\n  // gone\n  b(/* in */);\n'
    assert _lighten(source) == 'let a = "//x"; // kept\nb(/* in */);\n'


# --- the kernel -----------------------------------------------------------------------------


def test_the_kernel_is_small_and_is_what_its_source_compiles_to(tmp_path):
    embedded = re.search(r'KERNEL =\s+"([^"]+)"', (STATIC / "engine.js").read_text())[1]
    assert len(base64.b64decode(embedded)) < 1024
    compiler = os.environ.get("GAHB_ASC") or shutil.which("asc")
    if compiler is None:
        pytest.skip("no AssemblyScript compiler: npm install assemblyscript, and set GAHB_ASC")
    source, built = STATIC.parent / "kernel.ts", tmp_path / "kernel.wasm"
    options = re.search(r"asc kernel\.ts (.*) -o", source.read_text())[1].split()
    subprocess.run([compiler, str(source), *options, "-o", str(built)], check=True)
    assert built.read_bytes() == base64.b64decode(embedded)


# --- the engine in node, against what torch finds ---------------------------------------------


def test_the_engine_and_methods_pass_their_tests_in_node():
    if not shutil.which("node"):
        pytest.skip("node is not here: engine and methods are tested in the browser alone")
    asked = ["node", "--test", "--test-reporter=spec", "tests/js/"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr


def test_fixtures_of_the_engine_are_what_torch_finds_now():
    made = runpy.run_path(str(ROOT / "tests/js/make_fixtures.py"))
    kept, now = json.loads(made["FILE"].read_text()), json.loads(json.dumps(made["make"]()))
    assert kept["networks"].keys() == now["networks"].keys()
    for name, one in now["networks"].items():
        same = [key for key in ("header", "data") if one[key] == kept["networks"][name][key]]
        assert same == ["header", "data"], f"{name}: python tests/js/make_fixtures.py"
        for key in ("y", "x", "Jv", "Jtu"):
            np.testing.assert_allclose(one[key], kept["networks"][name][key], atol=1e-4)
    for key, value in now["methods"].items():
        np.testing.assert_allclose(value, kept["methods"][key], atol=1e-4)
