"""The live networks in Chromium: the engine against torch, the worker, the front page."""

import copy
import hashlib
import io
import json
import re
import shutil

import numpy as np
import pytest
import pywt
import torch
from browser import open_page, serve
from patience import wait_for
from PIL import Image

from gahb_book import chapters
from gahb_book.browser import network_file, network_script, script_name
from gahb_book.chapters.closed import _LINE
from gahb_book.chapters.start import encode_start, fit_start
from gahb_book.site.assets import page_assets, read_fragment
from gahb_core.bases.fourier import make_fourier
from gahb_core.bases.wavelets import make_wavelet
from gahb_core.data import load_images
from gahb_core.denoisers.empirical import empirical_denoiser
from gahb_core.images import draw_disks, resize_area, tangent_vectors
from gahb_core.images.c_alpha import coverage
from gahb_core.jacobian.krylov import top_eigenpairs
from gahb_core.jacobian.products import adaptive_filters, linearize
from gahb_core.metrics.pairs import psnr
from gahb_core.multiscale.haar import haar_split
from gahb_core.noise import add_noise, make_generator, sample_normal
from gahb_core.sampling.ascent import sample
from gahb_core.sampling.measurements import measure_block_means, measure_pixels, sample_constrained
from gahb_core.training import load_denoiser, load_multiscale

pytestmark = pytest.mark.browser
NETWORK = "fashion/N=10000/A"
SMALL = "bfcnn/fashion/N=10000/A"
SIX = "faces/N=6000/A"
# every kind of network that ships, at the sizes they take: (name, side)
KINDS = [
    (NETWORK, 32),
    ("fashion/N=10/A", 32),  # not in halves
    ("c_alpha/alpha=2", 48),
    ("faces/size=16/N=6000/A", 16),
    ("faces/size=24/N=6000/A", 24),
    ("local/c_alpha/low", 64),
    (SMALL, 16),
    ("bfcnn/fashion/N=10/A", 16),
    ("local/faces/pixel/RF=5", 31),
    ("local/faces/pixel/RF=13", 40),
    ("local/c_alpha/details=1/RF=9", 32),
    ("local/faces/details=2/RF=43", 16),
]
C2, LOW = "c_alpha/alpha=2", "local/c_alpha/low"
DETAILS = [f"local/c_alpha/details={j}/RF=9" for j in (1, 2)]  # finest first


def c2(size):
    """A C² test image."""
    return load_images(C2, "test", 1, size)


def camera():
    """A photograph of 96×96."""
    return resize_area(torch.from_numpy(pywt.data.camera())[None, None] / 255, 128)[
        ..., :96, 16:112
    ]


# the figures of chapters: how each is made, a button that uses it, and what its last line says then
CHAPTERS = {
    "basis": (lambda: chapters.explore_basis({SIX: "faces"}), "bag", "the least exact of 24"),
    "climb": (chapters.explore_climb, "ascend", "the law takes 127"),
    "pair": (lambda: chapters.explore_pairs(nums=(10,)), "new noise", "these two correlate"),
    "line": (chapters.explore_line, None, "f*(y) = "),
    "plane": (chapters.explore_plane, "ascend again", "on the left at one of the eight"),
    "peaks": (chapters.explore_peaks, None, "f*(y) = "),
    "photo": (lambda: chapters.explore_photo({SIX: "faces"}, camera()), "other noise", "of 24"),
    "shrink": (chapters.explore_shrink, "Fourier", "of 1024 kept"),
    "disk": (chapters.explore_disk, "other noise", "the least exact of 12"),
    "inpaint": (chapters.explore_inpaint, "complete", "pixels were unknown"),
    "filters": (
        lambda: chapters.explore_filters("c_alpha", LOW, c2(64), (22, 20)),
        "5×5",
        "Radii hold",
    ),
    "cascade": (
        lambda: chapters.explore_cascade(DETAILS, C2),
        "draw the details",
        "coarse level first",
    ),
    "contour": (chapters.explore_contour, "let go", "the least exact of 12"),
    "born": (lambda: chapters.explore_born(nums=(10, 10_000)), "bag", "networks of A took"),
}
# the engine on the page itself, as the worker runs it: floats in and out as arrays of numbers
DIRECT = """async ({header, data, H, W, y, v, u, given, plain}) => {
    await GAHB.library();
    const net = gahbEngine().load(header, data, header.name), F = a => a && Float32Array.from(a);
    net.plain = plain;
    const p = net.at(F(y), H, W, F(given));
    return Object.fromEntries(Object.entries({estimate: p.estimate, push: p.push(F(v)),
        pull: p.pull(F(u)), linear: p.push(p.full)}).map(([k, a]) => [k, Array.from(a)]));
}"""
CALL = """async ({net, kind, args}) => {
    if (net) await GAHB.network(net);
    else await GAHB.library();
    const typed = o => Object.fromEntries(Object.entries(o).map(([k, a]) =>
        [k, Array.isArray(a) ? (Array.isArray(a[0]) ? a.map(r => Float32Array.from(r))
            : Float32Array.from(a)) : a && typeof a === 'object' ? typed(a) : a]));
    const plain = a => a && a.buffer ? Array.from(a) : Array.isArray(a) ? a.map(plain)
        : a && typeof a === 'object' ? Object.fromEntries(
            Object.entries(a).map(([k, b]) => [k, plain(b)])) : a;
    return plain(await GAHB.call(kind, {net: net && net.name, ...typed(args)}));
}"""


def write_site(folder, *bodies):
    """Write a page a body, with what their live figures load, as `gahb build` lays them out."""
    head = (
        '<!doctype html><html data-content_root="../" lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>A page</title>'
        '<link rel="icon" href="data:,"><style>:root{color-scheme:light dark}</style>'
    )
    (folder / "book").mkdir(parents=True)
    for i, body in enumerate(bodies):
        page = f'{head}<body style="margin:8px;max-width:46rem">{body}</body></html>'
        (folder / "book" / f"{i}.html").write_text(page, encoding="utf-8")
    for path, content in page_assets(["_static/live/front.html", *bodies]):
        target = folder / "_static" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Pages: 0 the front page's figure, 1 the same figure twice, then one a chapter's figure."""
    front = read_fragment("front")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAHB_PAGE", "1")
        chapters = [make().data for make, *_ in CHAPTERS.values()]
    folder = write_site(tmp_path_factory.mktemp("live"), front, front + front, *chapters)
    script = folder / "_static" / "networks" / script_name(SMALL)
    script.write_text(network_script(SMALL))
    return folder


@pytest.fixture(scope="module")
def page(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/0.html", "light") as (
        page,
        complaints,
    ):
        page.wait_for_selector(".gahb-live-stage")
        yield page
        assert complaints == []


def file_of(name):
    return {"name": name, "file": script_name(name)}


def call(page, kind, net=None, **args):
    return page.evaluate(CALL, {"net": net and file_of(net), "kind": kind, "args": args})


def flat(x):
    return x.flatten().tolist()


def relative_error(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    return np.linalg.norm(found - expected.ravel()) / np.linalg.norm(expected)


def linearize_in_double(f, y, condition):
    """The products of a denoiser at y, its weights and all sums in float64."""
    f = copy.deepcopy(f)
    f.net.double()
    told = f if condition is None else lambda y, s: f(y, s, condition.double())
    return linearize(told, y.double())


# --- the engine against torch ---------------------------------------------------------------


@pytest.mark.parametrize(("name", "side"), KINDS)
def test_the_engine_gives_what_torch_gives(page, name, side):
    header, data = network_file(name)
    out, generator = header["channels"]["out"], make_generator(3)
    y, v, u = torch.randn(3, 1, out, side, side, generator=generator)
    y = 0.5 + 0.3 * y
    given = torch.rand(1, 1, side, side, generator=generator) if out == 3 else None
    f = load_denoiser(name)
    told = f if given is None else lambda y, s: f(y, s, given)
    products = linearize(told, y)
    args = {"header": header, "data": data, "H": side, "W": side}
    args |= {"y": flat(y), "v": flat(v), "u": flat(u)}
    args["given"] = None if given is None else flat(given)
    fast, slow = (page.evaluate(DIRECT, args | {"plain": plain}) for plain in (False, True))
    rounded = 2e-5 if out == 3 else 5e-6  # twenty residual layers add their rounding up
    rounded = 1e-4 if name in ("fashion/N=10/A", "bfcnn/fashion/N=10/A") else rounded
    assert relative_error(fast["estimate"], products.x_hat.numpy()) < rounded
    if rounded < 1e-4:  # rounded weights may open another ReLU
        assert relative_error(fast["push"], products.push(v).numpy()) < 1e-4
        assert relative_error(fast["pull"], products.pull(u).numpy()) < 1e-4
    assert relative_error(fast["linear"], np.array(fast["estimate"])) < 1e-5
    inner = np.dot(flat(u), fast["push"]), np.dot(fast["pull"], flat(v))
    size = np.linalg.norm(flat(u)) * np.linalg.norm(fast["push"])
    assert abs(inner[0] - inner[1]) < 1e-5 * size
    most = dict.fromkeys(fast, 2e-5)
    if out == 3:  # J v no nearer than torch's own float32 is to float64
        exact = linearize_in_double(f, y, given).push(v.double())
        own = relative_error(flat(products.push(v)), exact.numpy())
        most["push"] = max(2e-5, 2 * own)
    for key, limit in most.items():
        assert relative_error(slow[key], np.array(fast[key])) < limit, key


def test_images_need_not_be_square(page):
    header, data = network_file(NETWORK)
    y = torch.rand(1, 1, 16, 40, generator=make_generator(0))
    args = {"header": header, "data": data, "H": 16, "W": 40, "given": None, "plain": False}
    found = page.evaluate(DIRECT, args | {"y": flat(y), "v": flat(y), "u": flat(y)})
    assert relative_error(found["estimate"], load_denoiser(NETWORK)(y).detach().numpy()) < 5e-6


def test_without_webassembly_plain_javascript_takes_over(page):
    header, data = network_file(SMALL)
    found = page.evaluate(
        """async ({header, data}) => {
            const kept = globalThis.WebAssembly;
            try {
                delete globalThis.WebAssembly;
                const engine = gahbEngine();
                const net = engine.load(header, data), y = new Float32Array(256).fill(.5);
                const x = net.estimate(y, 16, 16);
                return {simd: engine.simd(), x: Array.from(x)};
            } finally { globalThis.WebAssembly = kept; }
        }""",
        {"header": header, "data": data},
    )
    y = torch.full((1, 1, 16, 16), 0.5)
    assert found["simd"] is False
    assert relative_error(found["x"], load_denoiser(SMALL)(y).detach().numpy()) < 5e-6


def test_eigenpairs_are_those_of_the_library(page):
    f, x = load_denoiser(NETWORK), load_images("fashion", "test", 4, 32)[3:]
    y = add_noise(x, 0.3, 0)
    expected = top_eigenpairs(f, y, num=12, tol=1e-3)
    found = call(page, "eigenpairs", NETWORK, y=flat(y), H=32, W=32, num=12, tol=0.02)
    assert found["converged"]
    np.testing.assert_allclose(found["lam"], expected.lam, atol=1e-2)
    atoms = np.array(found["atoms"])
    np.testing.assert_allclose(atoms @ atoms.T, np.eye(12), atol=1e-5)
    S = linearize(f, y)
    rows = torch.tensor(atoms, dtype=torch.float32).reshape(12, 1, 32, 32)
    images = ((S.push(rows) + S.pull(rows)) / 2).flatten(1).numpy()
    gaps = np.linalg.norm(images - np.array(found["lam"])[:, None] * atoms, axis=1)
    np.testing.assert_allclose(gaps, found["residuals"], atol=1e-4)
    assert gaps.max() < 0.0201


def test_the_trace_is_within_its_error(page):
    y = add_noise(load_images("fashion", "test", 1, 16), 0.3, 0)
    f = load_denoiser(SMALL)
    exact = linearize(f, y).pull(torch.eye(256).reshape(256, 1, 16, 16)).flatten(1).trace().item()
    found = call(page, "trace", SMALL, y=flat(y), H=16, W=16, num=64)
    assert found["count"] == 64
    assert abs(found["value"] - exact) < 4 * found["error"]
    assert found["error"] < 0.2 * exact


def test_a_filter_is_a_row_of_the_jacobian(page):
    y = add_noise(load_images("fashion", "test", 1, 16), 0.3, 0)
    unit = torch.zeros(1, 1, 16, 16)
    unit[0, 0, 5, 9] = 1
    expected = linearize(load_denoiser(SMALL), y).pull(unit)
    found = call(page, "filter", SMALL, y=flat(y), H=16, W=16, pixel=5 * 16 + 9)
    assert relative_error(found, expected.numpy()) < 1e-4


def test_coarse_to_fine_and_its_filters_are_the_librarys(page):
    y = add_noise(c2(32), 0.2, 0)
    f = load_multiscale(LOW, DETAILS)
    for name in (LOW, *DETAILS):
        args = {
            "name": name,
            **dict(zip(("header", "data"), network_file(name), strict=True)),
        }
        page.evaluate("async a => { await GAHB.library(); await GAHB.call('load', a); }", args)
    found = page.evaluate(
        """async a => {
            const found = await GAHB.call('coarseToFine', {...a, y: Float32Array.from(a.y)});
            return {estimate: Array.from(found.estimate), filter: Array.from(found.filter)};
        }""",
        {"low": LOW, "details": DETAILS, "y": flat(y), "H": 32, "W": 32, "pixel": 9 * 32 + 20},
    )
    assert relative_error(found["estimate"], f(y).detach().numpy()) < 1e-4
    assert relative_error(found["filter"], adaptive_filters(f, y, pixels=[(9, 20)]).numpy()) < 1e-3
    inner = np.dot(found["filter"], flat(y))
    assert inner == pytest.approx(found["estimate"][9 * 32 + 20], abs=1e-4)


def test_an_ascent_starts_at_a_draw_of_the_fitted_gaussian_plus_noise(browser, built):
    fit = fit_start(load_images("fashion", "A", 500, 32), 12)
    place = f"book/{2 + list(CHAPTERS).index('pair')}.html"
    with open_page(browser, built.as_uri() + "/", place, "light") as (page, complaints):
        page.wait_for_selector(".gahb-live-stage")
        found = page.evaluate(
            """async start => {
                await GAHB.library();
                const z = GAHB.methods.noise(12 + 1024, 7);
                return {y: Array.from(GAHB.starts(start)(7)), z: Array.from(z)};
            }""",
            encode_start(fit),
        )
        assert complaints == []
    z = np.array(found["z"])
    expected = fit.mean.flatten().numpy() + z[:12] @ fit.patterns.flatten(1).numpy() + z[12:]
    most = np.abs(fit.patterns.flatten(1).numpy()).max(1)
    assert np.abs(np.array(found["y"]) - expected).max() < 1 / 255 + np.abs(z[:12]) @ most / 200
    assert np.std(z) == pytest.approx(1, abs=0.1)


# --- the ascent, and other denoisers --------------------------------------------------------


def noise_of(seed, num, shape):
    stream = make_generator(seed, "ascent", 0)
    return [flat(torch.randn(shape, generator=stream)) for _ in range(num)]


def test_the_ascent_is_the_librarys_given_the_same_noise(page):
    shape, way = (1, 16, 16), {"beta": 0.3, "sigma_end": 0.05}
    expected = sample(load_denoiser(SMALL), 1, shape, seed=5, **way)
    y0 = 0.5 + sample_normal((1, *shape), 5, key="start")
    draws = noise_of(5, int(expected.iterations) + 1, shape)
    found = call(
        page, "ascend", SMALL, y=flat(y0), H=16, W=16, beta=0.3, sigmaEnd=0.05, draws=draws
    )
    assert found["iteration"] == int(expected.iterations)
    assert found["active"] is False
    assert relative_error(found["estimate"], expected.x.numpy()) < 1e-3
    assert found["sigma"] == pytest.approx(float(expected.sigma_hat), rel=1e-3)


def test_the_memorizer_and_its_ascent_are_the_librarys(page):
    images = load_images("fashion", "A", 20, 16)
    memory, y = empirical_denoiser(images.double()), add_noise(images[:1], 0.2, 0)
    call(page, "keep", set="twenty", images=[flat(x) for x in images])
    found = call(page, "denoise", set="twenty", y=flat(y), sigma=0.2, H=16, W=16)
    assert relative_error(found["estimate"], memory(y.double(), 0.2).numpy()) < 1e-5
    shape, way = (1, 16, 16), {"beta": 0.3, "sigma_end": 0.05}
    expected = sample(memory, 1, shape, seed=2, blind=False, **way)
    y0 = 0.5 + sample_normal((1, *shape), 2, key="start")
    draws = noise_of(2, int(expected.iterations) + 1, shape)
    more = {"beta": 0.3, "sigmaEnd": 0.05, "sigma0": 1, "draws": draws}
    found = call(page, "ascend", set="twenty", y=flat(y0), H=16, W=16, **more)
    assert found["iteration"] == int(expected.iterations)
    assert relative_error(found["estimate"], expected.x.numpy()) < 1e-3


@pytest.mark.parametrize("kind", ["pixels", "blocks"])
def test_the_constrained_ascent_is_the_librarys(page, kind):
    x, shape = load_images("fashion", "test", 1, 16), (1, 16, 16)
    if kind == "pixels":
        mask = torch.rand(shape, generator=make_generator(0)) < 0.5
        measurement, told = measure_pixels(mask), {"mask": flat(mask.float()), "values": flat(x)}
    else:
        measurement = measure_block_means(16, 4)
        told = {"low": flat(measurement.analyze(x) / 4), "W": 16, "factor": 4}
    way = {"beta": 0.3, "sigma_end": 0.05}
    measured = measurement.analyze(x)
    expected = sample_constrained(load_denoiser(SMALL), measurement, measured, shape, seed=1, **way)
    centre = measurement.impose(torch.full((1, *shape), 0.5), measured)
    y0 = centre + sample_normal((1, *shape), 1, key="start")
    draws = noise_of(1, int(expected.iterations) + 1, shape)
    more = {"beta": 0.3, "sigmaEnd": 0.05, "draws": draws, "measured": {"kind": kind, **told}}
    found = call(page, "ascend", SMALL, y=flat(y0), H=16, W=16, **more)
    assert relative_error(found["estimate"], expected.x.numpy()) < 1e-3
    estimate = torch.tensor(found["estimate"]).reshape(1, *shape)
    torch.testing.assert_close(measurement.analyze(estimate), measured, atol=1e-5, rtol=0)


def test_haar_bands_are_the_librarys(page):
    x = torch.rand(1, 1, 6, 8, generator=make_generator(0))
    bands = haar_split(x)
    found = call(page, "haarSplit", x=flat(x), H=6, W=8)
    np.testing.assert_allclose(found["low"], flat(bands.low), atol=1e-6)
    np.testing.assert_allclose(found["details"], flat(bands.details), atol=1e-6)
    merged = call(page, "haarMerge", H=3, W=4, low=found["low"], details=found["details"])
    np.testing.assert_allclose(merged, flat(x), atol=1e-6)


@pytest.mark.parametrize("name", ["Fourier", "wavelets"])
def test_the_fixed_bases_are_the_librarys(page, name):
    library = {"Fourier": make_fourier(16), "wavelets": make_wavelet(16, "haar", 3)}[name]
    x = torch.rand(1, 1, 16, 16, generator=make_generator(0))
    found = page.evaluate(
        """async ({name, x}) => {
            await GAHB.library();
            const basis = GAHB.methods.fixedBases(16)[name];
            const c = basis.analyze(Float32Array.from(x));
            return {c: Array.from(c), x: Array.from(basis.synthesize(c))};
        }""",
        {"name": name, "x": flat(x)},
    )
    ours, theirs = (np.sort(np.abs(c)) for c in (found["c"], flat(library.analyze(x))))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)  # in another order, and of either sign
    np.testing.assert_allclose(found["x"], flat(x), atol=1e-5)


def test_the_hash_is_sha256(page):
    text = "a" * 200
    found = page.evaluate(
        "async t => (await GAHB.library(), gahbEngine().sha256(new TextEncoder().encode(t)))", text
    )
    assert found == hashlib.sha256(text.encode()).hexdigest()


# --- refusals -------------------------------------------------------------------------------


def changed(header, data, what):
    header = json.loads(json.dumps(header))
    if what == "bytes":
        return header, data[:100] + ("B" if data[100] == "A" else "A") + data[101:]
    if what == "cut":
        return header, data[: len(data) // 2]
    if what == "name":
        return header | {"name": "another"}, data
    if what == "version":
        return header | {"format": 2}, data
    header["layers"][3][1] += 4
    return header, data


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("bytes", "SHA-256 differs"),
        ("cut", "SHA-256 differs"),
        ("name", "the file holds another one, another"),
        ("version", "not a file of this version"),
        ("layers", "layer 3 .* does not fit the 32 channels"),
    ],
)
def test_a_file_that_does_not_fit_its_header_is_refused(page, what, said):
    header, data = changed(*network_file(SMALL), what)
    script = """async ({header, data, name}) => {
        await GAHB.library();
        try { gahbEngine().load(header, data, name); } catch (error) { return error.message; }
    }"""
    found = page.evaluate(script, {"header": header, "data": data, "name": SMALL})
    assert re.search(f"network {SMALL}: .*{said}", found), found


@pytest.mark.parametrize(
    ("kind", "args", "said"),
    [
        ("denoise", {"y": [0.0] * 9, "H": 16, "W": 16}, "y must have 256 values, not 9"),
        ("denoise", {"y": [0.0] * 256, "H": 16.5, "W": 16}, "multiples of 1, not 16.5 × 16"),
        ("ascend", {"y": [0.0] * 256, "H": 16, "W": 16, "h": 2}, "h must be in (0, 1], not 2"),
        ("ascend", {"y": [9.0, -9.0] * 128, "H": 16, "W": 16, "sigmaMax": 0.1}, "diverged"),
        ("eigenpairs", {"y": [0.0] * 256, "H": 16, "W": 16, "num": 0}, "num must lie in 1 … 256"),
    ],
)
def test_the_worker_says_what_is_wrong(page, kind, args, said):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call(page, kind, SMALL, **args)
    assert said in str(caught.value)


# --- the worker -----------------------------------------------------------------------------


def test_long_work_shows_progress_and_stops_at_once(page):
    found = page.evaluate(
        """async net => {
            await GAHB.network(net);
            const y = GAHB.methods.noise(1024, 1);
            let seen = 0, stopped;
            const endless = {net: net.name, y, H: 32, W: 32, num: 40, tol: 1e-9, most: 1e6};
            const job = GAHB.call("eigenpairs", endless, () => {
                if (++seen !== 2) return;
                stopped = performance.now();
                job.stop();
            });
            const last = await job;
            return {seen, stopped: last.stopped, after: performance.now() - stopped};
        }""",
        file_of(NETWORK),
    )
    assert found["seen"] >= 2
    assert found["stopped"] is True
    assert found["after"] < 200


def test_jobs_of_two_points_take_turns_without_mixing(page):
    f, x = load_denoiser(NETWORK), load_images("fashion", "test", 2, 32)
    ys = [add_noise(image[None], 0.3, 0) for image in x]
    found = page.evaluate(
        """async ({net, ys}) => {
            await GAHB.network(net);
            const jobs = ys.map(y => GAHB.call("eigenpairs", {net: net.name,
                y: Float32Array.from(y), H: 32, W: 32, num: 3, tol: 1e-3}));
            return (await Promise.all(jobs)).map(job => job.lam);
        }""",
        {"net": file_of(NETWORK), "ys": [flat(y) for y in ys]},
    )
    for lam, y in zip(found, ys, strict=True):
        np.testing.assert_allclose(lam, top_eigenpairs(f, y, num=3).lam, atol=2e-3)


def test_two_figures_share_one_worker_and_one_copy(browser, built):
    with serve(built) as origin, open_page(browser, origin, "book/1.html", "dark") as opened:
        page, complaints = opened
        page.wait_for_function("document.querySelectorAll('.gahb-live-stage').length === 2")
        for i in range(2):
            page.get_by_role("button", name="a bag").nth(i).click()
            page.locator(".gahb-live-status").nth(i).filter(has_text="products").wait_for()
        assert page.evaluate("GAHB.call('loaded')") == [NETWORK]
        assert page.locator("head script[src*='networks/']").count() == 1
        assert len(page.workers) == 1
        assert complaints == []


# --- the figure of the front page -----------------------------------------------------------


def pixels_of(page, index):
    """The pixels that a panel's canvas shows, as a string that two pictures share or not."""
    return page.locator(".gahb-live-panel canvas").nth(index).evaluate("c => c.toDataURL()")


def wait_for_eigenvectors(page):
    page.locator(".gahb-live-status").filter(has_text="products").wait_for()


def is_wider_than_its_window(page):
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_front_page_works_with_the_mouse(browser, built, theme):
    with open_page(browser, built.as_uri() + "/", "book/0.html", theme) as (
        page,
        complaints,
    ):
        page.wait_for_selector(".gahb-live-stage")
        assert page.locator("script[src*='networks/']").count() == 0  # nothing before the first use
        before = pixels_of(page, 2)
        box = page.locator(".gahb-live-draw").bounding_box()
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
        page.mouse.up()
        wait_for_eigenvectors(page)
        assert pixels_of(page, 2) != before
        rest = pixels_of(page, 3)
        page.locator(".gahb-live-panel canvas").nth(2).hover()
        page.get_by_text("filter of this pixel").wait_for()
        assert pixels_of(page, 3) != rest
        page.get_by_role("button", name="ascend from noise").click()
        page.get_by_text("σ̂ =").wait_for()
        page.get_by_role("button", name="stop").click()
        page.get_by_role("button", name="ascend from noise").wait_for()
        assert complaints == []


def test_the_front_page_works_by_keyboard_alone(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/0.html", "light") as (
        page,
        complaints,
    ):
        page.wait_for_selector(".gahb-live-stage")
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            reached.append(
                page.evaluate(
                    "document.activeElement.getAttribute('aria-label')"
                    " ?? document.activeElement.textContent"
                )  # fmt: skip
            )
        for name in ("noise σ", "ascend from noise", "a boot", "your photograph", "wipe", "faces"):
            assert name in reached
        page.locator(".gahb-live-draw").focus()
        before = pixels_of(page, 0)
        for key in ("ArrowLeft", "ArrowUp", "Space"):
            page.keyboard.press(key)
        wait_for_eigenvectors(page)
        assert pixels_of(page, 0) != before
        page.get_by_role("slider", name="noise σ").focus()
        noisy = pixels_of(page, 1)
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "b => document.querySelectorAll('.gahb-live-panel canvas')[1].toDataURL() !== b",
            arg=noisy,
        )
        page.locator(".gahb-live-panel canvas").nth(2).focus()
        page.keyboard.press("ArrowDown")
        page.get_by_text("filter of this pixel").wait_for()
        assert complaints == []


def test_the_front_page_works_by_touch_on_a_phone(browser, built):
    options = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with browser.new_context(**options) as context:
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(built.as_uri() + "/book/0.html")
        page.wait_for_selector(".gahb-live-stage")
        assert not is_wider_than_its_window(page)
        before = pixels_of(page, 0)
        page.locator(".gahb-live-draw").tap()
        wait_for_eigenvectors(page)
        assert pixels_of(page, 0) != before
        page.locator(".gahb-live-panel canvas").nth(2).tap()
        page.get_by_text("filter of this pixel").wait_for()
        small = page.evaluate(
            "[...document.querySelectorAll('.gahb-live button, .gahb-live input[type=range]')]"
            ".filter(b => b.getBoundingClientRect().height < 30).map(b => b.outerHTML)"
        )
        assert small == []
        assert errors == []


def test_without_javascript_the_picture_stays(browser, built):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(built.as_uri() + "/book/0.html")
        picture = page.locator(".gahb-live-picture")
        assert picture.is_visible()
        assert "eigenvectors" in picture.get_attribute("alt")


@pytest.mark.parametrize("broken", ["missing", "changed", "foreign"])
def test_a_network_that_is_missing_or_changed_leaves_the_picture(browser, built, tmp_path, broken):
    copy = shutil.copytree(built, tmp_path / "site")
    script = copy / "_static" / "networks" / script_name(NETWORK)
    text = script.read_text()
    said = {
        "missing": f"the file _static/networks/{script.name} is missing",
        "changed": "SHA-256 differs",
        "foreign": "the file holds another one, disks",
    }
    script.unlink()
    if broken == "changed":
        script.write_text(text[:-100] + ("B" if text[-100] == "A" else "A") + text[-99:])
    if broken == "foreign":
        script.write_text((script.parent / "disks.js").read_text())
    with browser.new_context() as context:
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(copy.as_uri() + "/book/0.html")
        page.wait_for_selector(".gahb-live-stage")
        before = pixels_of(page, 2)
        page.get_by_role("button", name="a bag").click()
        page.locator(".gahb-live-said").filter(has_text=said[broken]).wait_for()
        assert pixels_of(page, 2) == before
        page.get_by_role("button", name="disks").click()  # the others go on
        wait_for_eigenvectors(page)
        assert errors == []


def a_photograph(width, height, orientation=None, grey=None):
    """JPEG bytes: the upper half white, or all of one grey; perhaps turned by its EXIF."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[: height // 2] = 255
    image = Image.fromarray(pixels if grey is None else np.full_like(pixels, grey))
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif, quality=95)
    return buffer.getvalue()


def open_photograph(page, content, name="photo.jpg"):
    upload = {"name": name, "mimeType": "image/jpeg", "buffer": content}
    page.locator(".gahb-live input[type=file]").set_input_files(upload)


def drawn(page):
    """What the drawing shows, (32, 32) in [0, 1]."""
    read = "c => Array.from(c.getContext('2d').getImageData(0, 0, 32, 32).data)"
    data = page.locator(".gahb-live-draw").evaluate(read)
    return np.array(data).reshape(32, 32, 4)[..., 0] / 255


def test_a_photograph_comes_right_side_up_square_and_small(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/0.html", "light") as (
        page,
        complaints,
    ):
        page.wait_for_selector(".gahb-live-stage")
        for content, upper in [
            (a_photograph(4000, 3000), np.s_[:15]),
            (a_photograph(120, 80, orientation=6), np.s_[:, 17:]),  # its top is to the right
            (a_photograph(80, 120, orientation=3), np.s_[17:]),
        ]:
            lower = np.ones((32, 32), bool)
            lower[upper] = False

            def is_upright(upper=upper, lower=lower):
                picture = drawn(page)
                return picture[upper].min() > 0.9 and np.median(picture[lower]) < 0.1

            open_photograph(page, content)
            wait_for(is_upright, "the photograph")
        for content in (a_photograph(1, 1, grey=0), a_photograph(50, 50, grey=0)):
            open_photograph(page, content)
            page.locator(".gahb-live-said").filter(has_text="Nothing yet").wait_for()
        assert complaints == []


def test_what_is_no_picture_is_said_to_be_none(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/0.html", "light") as (
        page,
        complaints,
    ):
        page.wait_for_selector(".gahb-live-stage")
        before = drawn(page) if page.locator(".gahb-live-draw[data-live]").count() else None
        open_photograph(page, b"not a picture", "notes.txt")
        page.get_by_text("notes.txt is not a picture that this browser can read.").wait_for()
        assert before is None
        page.get_by_role("button", name="nothing").click()
        page.get_by_text("Nothing yet: draw").wait_for()
        assert complaints == []


def test_a_control_can_be_used_before_any_network_is_loaded(browser, built):
    """From disk: what a reader waits for are the page's own scripts, and no weights."""
    with browser.new_context() as context:
        page, asked = context.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(built.as_uri() + "/book/0.html", wait_until="commit")
        page.wait_for_selector(".gahb-live-stage input[type=range]")
        assert not [url for url in asked if "weights" in url or "networks" in url]


# --- the figures of chapters ----------------------------------------------------------------


def pictures_of(page):
    """All that a figure shows, as a string that two states share or not."""
    return page.evaluate(
        "[...document.querySelectorAll('.gahb-live-stage canvas')].map(c => c.toDataURL()).join()"
        " + [...document.querySelectorAll('.gahb-live-chart')].map(c => c.innerHTML).join()"
    )


@pytest.mark.parametrize("name", CHAPTERS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figures_of_chapters_move(browser, built, name, theme):
    _, label, said = CHAPTERS[name]
    path = f"book/{2 + list(CHAPTERS).index(name)}.html"
    with open_page(browser, built.as_uri() + "/", path, theme) as (page, complaints):
        page.set_viewport_size({"width": 390, "height": 800})
        page.wait_for_selector(".gahb-live-stage")
        assert not is_wider_than_its_window(page)
        before = pictures_of(page)
        if label:
            page.get_by_role("button", name=label, exact=True).focus()
            page.keyboard.press("Enter")
        else:
            page.get_by_role("slider").first.focus()
            page.keyboard.press("ArrowRight")
        page.locator(".gahb-live-status").filter(has_text=said).wait_for(timeout=60_000)
        assert pictures_of(page) != before
        assert page.locator(".gahb-live-said").text_content() == ""
        assert complaints == []


def test_a_chosen_factor_moves_the_estimate_and_a_pixel_shows_its_filter(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/2.html", "light") as (
        page,
        complaints,
    ):
        page.get_by_role("button", name="bag").click()
        page.locator(".gahb-live-status").filter(has_text="the least exact of 24").wait_for()
        before = pixels_of(page, 1), pixels_of(page, 2)
        page.locator(".gahb-live-factors button").nth(5).click()
        page.get_by_text("e, number 6").wait_for()
        assert pixels_of(page, 2) != before[1]
        page.get_by_role("slider", name="along e").focus()
        page.keyboard.press("End")
        wait_for(lambda: pixels_of(page, 1) != before[0], "the estimate that follows the factor")
        page.locator(".gahb-live-panel canvas").nth(1).hover()
        page.get_by_text("filter of this pixel").wait_for()
        assert complaints == []


def test_the_line_says_what_the_library_says(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/5.html", "light") as (
        page,
        complaints,
    ):
        box = page.locator(".gahb-live-chart").bounding_box()
        page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
        said = page.locator(".gahb-live-status").text_content()
        y, mean = map(float, re.match(r"y = (\S+), f\*\(y\) = (\S+):", said).groups())
        w, m, _ = chapters.mixture_posterior(y, 0.15, **_LINE)
        assert mean == pytest.approx(w @ m, abs=0.01)  # y is shown to two digits
        assert complaints == []


def test_a_threshold_in_the_page_is_that_of_the_library(browser, built):
    path = f"book/{2 + list(CHAPTERS).index('shrink')}.html"
    with open_page(browser, built.as_uri() + "/", path, "light") as (page, complaints):
        page.get_by_role("button", name="jumper").click()
        status = page.locator(".gahb-live-status").filter(has_text="kept")
        status.wait_for()
        y = page.evaluate(
            "() => Array.from(GAHB.methods.addNoise(GAHB.images(JSON.parse("
            "document.querySelector('.gahb-live-data').textContent).examples, 1024)[0], .2, 1))"
        )
        y = torch.tensor(y).reshape(1, 1, 32, 32)
        x = load_images("fashion", "test", 4, 32)[3:]
        basis = make_wavelet(32, "haar", 3)
        c = basis.analyze(y)
        x_hat = basis.synthesize(c * (c.abs() > 3 * 0.2))
        network = psnr(load_denoiser(NETWORK)(y).detach(), x).item()
        count, kept, best, own = map(
            float, re.findall(r"\d+\.\d(?= dB)|^\d+", status.text_content())
        )
        assert count == (c.abs() > 0.6).sum()
        assert kept == pytest.approx(psnr(x_hat, x).item(), abs=0.06)
        assert own == pytest.approx(network, abs=0.06)
        assert best >= kept
        page.get_by_role("button", name="the network's own").click()
        status.filter(has_text="of 48 kept").wait_for(timeout=60_000)
        assert complaints == []


def open_chapter(browser, built, name):
    """Open the page of a chapter's figure in the light theme."""
    path = f"book/{2 + list(CHAPTERS).index(name)}.html"
    return open_page(browser, built.as_uri() + "/", path, "light")


MAKE = """async ({maker, more, keys}) => {
    await GAHB.library();
    const data = JSON.parse(document.querySelector('.gahb-live-data').textContent);
    const made = GAHB.makers[maker]({...data, ...more}, () => {});
    let x = made.make();
    for (const key of keys) made.key({key});
    x = made.make();
    const unit = t => { const n = Math.sqrt(GAHB.dot(t, t)); return t.map(v => v / n); };
    const shares = (made.tangents || []).map(t => made.note(unit(t)));
    return {x: Array.from(x), tangents: (made.tangents || []).map(t => Array.from(t)), shares};
}"""


def test_a_dragged_disk_and_its_tangent_vectors_are_the_librarys(browser, built):
    with open_chapter(browser, built, "disk") as (page, complaints):
        told = {"parameters": [12, 18, 6, 0.9, 0.3]}
        keys = ["ArrowDown", "ArrowLeft", "ArrowLeft", "+"]
        found = page.evaluate(MAKE, {"maker": "disk", "more": told, "keys": keys})
        p = torch.tensor([[12.5, 17, 6.5, 0.9, 0.3]])
        np.testing.assert_allclose(found["x"], flat(draw_disks(p)), atol=1e-5)
        # on the edge of its range a pixel has a derivative to one side only
        gaps = np.abs(found["tangents"] - tangent_vectors(draw_disks, p)[0].flatten(1).numpy())
        assert (gaps > 1e-3).mean() < 0.005
        assert found["shares"] == ["100% tangent"] * 5
        assert complaints == []


def test_a_disk_is_dragged_by_its_middle_and_by_its_rim(browser, built):
    with open_chapter(browser, built, "disk") as (page, complaints):
        box = page.locator(".gahb-live-panel canvas").first.bounding_box()
        at = lambda c, r: (box["x"] + c * box["width"] / 32, box["y"] + r * box["width"] / 32)  # noqa: E731
        page.mouse.move(*at(18, 14))
        page.mouse.down()
        page.mouse.move(*at(15, 16), steps=3)
        page.mouse.up()
        page.mouse.move(*at(22, 16))
        page.mouse.down()
        page.mouse.move(*at(24, 16), steps=3)
        page.mouse.up()
        assert page.get_by_role("slider", name="radius").input_value() == "9"
        status = page.locator(".gahb-live-status").filter(has_text="the least exact of 12")
        status.wait_for(timeout=60_000)
        page.wait_for_function(
            "document.querySelectorAll('.gahb-live-atom')[5].textContent.includes('tangent')"
        )
        assert complaints == []


def test_what_is_painted_over_is_completed_and_the_rest_is_kept(browser, built):
    grey = """k => { const c = document.querySelectorAll('.gahb-live-panel canvas')[k];
        const d = c.getContext('2d').getImageData(0, 0, 32, 32).data;
        return Array.from({length: 1024}, (_, i) => d[4 * i]); }"""
    with open_chapter(browser, built, "inpaint") as (page, complaints):
        page.get_by_role("button", name="nothing").click()
        page.get_by_role("button", name="complete", exact=True).click()
        page.get_by_text("Nothing is unknown").wait_for()
        clean = np.array(page.evaluate(grey, 0)).reshape(32, 32)
        canvas = page.locator(".gahb-live-panel canvas").first
        box = canvas.bounding_box()
        canvas.click(position={"x": 20.5 / 32 * box["width"], "y": 9.5 / 32 * box["height"]})
        canvas.focus()
        page.keyboard.press("Space")  # in the middle, by the keyboard
        hidden = np.array(page.evaluate(grey, 0)).reshape(32, 32) != clean
        assert hidden[9, 20]
        assert hidden[16, 16]
        assert hidden.sum() < 60
        page.get_by_role("button", name="complete", exact=True).click()
        status = page.locator(".gahb-live-status").filter(has_text="pixels were unknown")
        status.wait_for(timeout=60_000)
        unknown = int(status.text_content().split()[0])
        for k in (1, 2, 3, 4):
            found = np.array(page.evaluate(grey, k)).reshape(32, 32)
            assert (found != clean).sum() <= unknown
            assert abs(found - clean).max() > 0
        assert complaints == []


def test_an_empty_drawing_asks_for_one_and_each_half_has_its_networks(browser, built):
    with open_chapter(browser, built, "born") as (page, complaints):
        page.get_by_role("button", name="nothing").click()
        page.get_by_text("Nothing yet: draw").wait_for()
        assert page.locator(".gahb-live-status").text_content() == ""
        page.locator(".gahb-live-draw").focus()
        for key in ("Space", "Shift+ArrowRight", "Shift+ArrowDown"):
            page.keyboard.press(key)
        status, tiles = page.locator(".gahb-live-status"), page.locator(".gahb-live-row canvas")
        status.filter(has_text="networks of A took").wait_for(timeout=60_000)
        assert said(page) == ""
        shown = "c => c.toDataURL()"
        before = [tiles.nth(k).evaluate(shown) for k in range(12)]
        page.get_by_role("button", name="B", exact=True).click()
        status.filter(has_text="networks of B took").wait_for(timeout=60_000)
        assert all(tiles.nth(k).evaluate(shown) != before[k] for k in range(12))
        assert complaints == []


def test_details_keep_the_block_means_of_the_sketch(browser, built):
    grey = """k => { const c = document.querySelectorAll('.gahb-live-panel canvas')[k];
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return Array.from({length: c.width * c.height}, (_, i) => d[4 * i]); }"""
    with open_chapter(browser, built, "cascade") as (page, complaints):
        page.get_by_role("button", name="grey", exact=True).click()
        status = page.locator(".gahb-live-status").filter(has_text="coarse level first")
        status.wait_for(timeout=60_000)
        canvas = page.locator(".gahb-live-panel canvas").first
        box = canvas.bounding_box()
        page.get_by_role("slider", name="grey").fill("7")
        before = page.evaluate(grey, 2)
        canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})  # and it draws anew
        page.wait_for_function(f"before => ({grey})(2).join() !== before.join()", arg=before)
        page.get_by_role("button", name="draw the details").wait_for(timeout=60_000)
        sketch, final = np.array(page.evaluate(grey, 0)), np.array(page.evaluate(grey, 2))
        means = final.reshape(16, 4, 16, 4).mean((1, 3))
        assert abs(means - sketch.reshape(16, 16)).max() < 1.5  # of 255
        assert len(set(sketch)) == 2
        assert complaints == []


@pytest.mark.parametrize("alpha", [1, 3])
def test_a_contour_of_the_page_follows_the_librarys_recipe(browser, built, alpha):
    with open_chapter(browser, built, "contour") as (page, complaints):
        more = {"alpha": alpha, "seed": 5}
        found = page.evaluate(MAKE, {"maker": "contour", "more": more, "keys": []})
        draws = page.evaluate(
            "() => { const u = GAHB.methods.randomUniform(5);"
            " return Array.from({length: 3 + 32 + 2048}, () => u()); }"
        )
        (low, high, coin), u, b = torch.tensor(draws, dtype=torch.float64).split([3, 32, 2048])
        k = torch.fft.fftfreq(32, 1 / 32, dtype=torch.float64)
        curve = torch.fft.ifft(k.abs().clamp(min=1) ** -alpha * torch.fft.fft(2 * u - 1)).real
        gain = torch.hypot(k[:, None], k).clamp(min=1) ** -alpha
        planes = torch.fft.ifft2(gain * torch.fft.fft2(2 * b.reshape(2, 32, 32) - 1)).real
        planes = planes - planes.amin((1, 2), keepdim=True)
        planes = planes / planes.amax((1, 2), keepdim=True)
        bright, dark = low + (1 - low) * planes[0], high * planes[1]
        below, above = (bright, dark) if coin <= 0.5 else (dark, bright)
        mask = coverage((32 * (0.5 + 0.5**0.5 * curve))[None], 32)[0, 0]
        x = mask * below + (1 - mask) * above
        np.testing.assert_allclose(found["x"], flat(x), atol=1e-4)
        pulled = page.evaluate(
            MAKE, {"maker": "contour", "more": more, "keys": ["ArrowRight", "ArrowDown"] * 2}
        )
        moved = np.abs(np.array(pulled["x"]) - found["x"]).reshape(32, 32).max(0)
        assert moved[22] > 0.01  # the sixth handle of eight
        assert moved[:4].max() < 1e-3
        assert complaints == []


def test_two_peaks_of_the_page_are_those_of_the_library(browser, built):
    with open_chapter(browser, built, "peaks") as (page, complaints):
        page.get_by_role("slider", name="distance of the peaks").focus()
        page.keyboard.press("End")  # 6
        page.get_by_role("slider", name="y", exact=True).focus()
        page.keyboard.press("ArrowRight")
        said = page.locator(".gahb-live-status").text_content()
        y, mean = map(float, re.match(r"y = (\S+), f\*\(y\) = (\S+):", said).groups())
        w, m, _ = chapters.mixture_posterior(y, 0.7, [0.5, 0.5], [-3, 3], [0.3, 0.3])
        assert mean == pytest.approx(w @ m, abs=0.05)  # y is shown to two digits
        assert complaints == []


def test_the_window_of_a_photograph_moves(browser, built):
    with open_chapter(browser, built, "photo") as (page, complaints):
        page.get_by_role("slider", name="down").fill("40")
        page.locator(".gahb-live-status").filter(has_text="of 24").wait_for(timeout=60_000)
        shown = page.evaluate(
            """() => { const c = document.querySelectorAll('.gahb-live-panel canvas')[3];
            const d = c.getContext('2d').getImageData(0, 0, 32, 32).data;
            return Array.from({length: 1024}, (_, i) => d[4 * i] / 255); }"""
        )
        left = round(0.45 * 64)
        window = camera()[..., 40:72, left : left + 32]
        np.testing.assert_allclose(shown, flat(window), atol=0.006)
        assert complaints == []


def test_the_memorizer_of_the_page_draws_a_training_image(browser, built):
    with open_page(browser, built.as_uri() + "/", "book/3.html", "light") as (
        page,
        complaints,
    ):
        page.get_by_role("button", name="ascend").click()
        status = page.locator(".gahb-live-status").filter(has_text="with the memorizer's")
        status.wait_for(timeout=60_000)
        found = re.search(r"(\S+) with the network's image, (\S+) with", status.text_content())
        assert float(found[2]) >= 0.99
        assert float(found[1]) < 0.98
        assert complaints == []


# --- what a reader does while something runs ------------------------------------------------

# counts the jobs of each kind that a page asks for, and holds the networks back until `release()`
WATCH = """() => {
    const post = Worker.prototype.postMessage, network = GAHB.network;
    const release = new Promise(done => (window.release = done));
    window.asked = [];
    Worker.prototype.postMessage = function (job, ...more) {
        if (job.kind) window.asked.push([job.kind, job.args?.net ?? job.args?.name]);
        return post.call(this, job, ...more);
    };
    if (%s) GAHB.network = async (...args) => (await release, network(...args));
}"""


def watch(page, hold=False):
    page.wait_for_selector(".gahb-live-stage")
    page.evaluate(WATCH % ("true" if hold else "false"))


def asked(page, kind):
    """The networks, or sets, of the jobs of a kind that the page has asked for."""
    return [name for found, name in page.evaluate("window.asked") if found == kind]


def said(page):
    return page.locator(".gahb-live-said").text_content()


def main_button(page):
    return page.locator(".gahb-live-main").first


RUNS = {"climb": 2, "pair": 2, "inpaint": 4, "cascade": 1}  # how many ascents one run begins with


@pytest.mark.parametrize("name", ["front", *RUNS])
def test_a_double_click_starts_one_run(browser, built, name):
    opened = open_chapter(browser, built, name) if name in RUNS else open_front(browser, built)
    with opened as (page, complaints):
        watch(page, hold=True)
        main_button(page).dblclick()
        page.get_by_role("button", name="stop", exact=True).wait_for()  # while its network loads
        page.evaluate("window.release()")
        wait_for(lambda: len(asked(page, "ascend")) >= RUNS.get(name, 1), "all of the run")
        page.wait_for_timeout(300)  # another run would have asked by now
        assert len(asked(page, "ascend")) == RUNS.get(name, 1)
        assert said(page) == ""
        assert complaints == []


@pytest.mark.parametrize("name", ["front", *RUNS])
def test_a_run_can_be_stopped_while_its_network_loads(browser, built, name):
    opened = open_chapter(browser, built, name) if name in RUNS else open_front(browser, built)
    with opened as (page, complaints):
        watch(page, hold=True)
        label = main_button(page).text_content()
        main_button(page).click()
        page.get_by_role("button", name="stop", exact=True).click(force=True)
        page.evaluate("window.release()")
        page.get_by_role("button", name=label, exact=True).wait_for()
        assert asked(page, "ascend") == []
        assert said(page) == ""
        assert complaints == []


def open_front(browser, built):
    return open_page(browser, built.as_uri() + "/", "book/0.html", "light")


def begin_ascent(page):
    page.get_by_role("button", name="ascend from noise").click()
    page.get_by_text("σ̂ =").wait_for(timeout=60_000)


def test_a_network_chosen_during_an_ascent_takes_over_what_was_reached(browser, built):
    with open_front(browser, built) as (page, complaints):
        watch(page)
        begin_ascent(page)
        page.get_by_role("button", name="disks").click()
        page.get_by_role("button", name="ascend from noise").wait_for()  # at once, not at the end
        page.wait_for_function("window.asked.some(([k, n]) => k === 'denoise' && n === 'disks')")
        wait_for_eigenvectors(page)
        assert "has not been loaded" not in said(page)
        drawing = drawn(page)
        assert drawing.std() > 0.01  # not the jumper, nor nothing
        assert complaints == []


@pytest.mark.parametrize("what", ["example", "photograph", "drawing"])
def test_what_is_chosen_or_drawn_during_an_ascent_stays(browser, built, what):
    with open_front(browser, built) as (page, complaints):
        watch(page)
        page.get_by_role("button", name="a bag").click()
        wait_for_eigenvectors(page)
        bag = drawn(page)
        begin_ascent(page)
        if what == "example":
            page.get_by_role("button", name="a boot").click()
        elif what == "photograph":
            open_photograph(page, a_photograph(120, 80))
        else:
            page.locator(".gahb-live-draw").click()
        page.get_by_role("button", name="ascend from noise").wait_for()
        wait_for(lambda: not np.array_equal(drawn(page), bag), "another drawing")
        chosen = drawn(page)
        page.wait_for_timeout(1_500)  # longer than an ascent's pictures need
        assert np.array_equal(drawn(page), chosen)
        if what == "drawing":  # a dab on the bag, and nothing of the ascent
            assert (chosen != bag).sum() < 40
        assert complaints == []


def test_the_residual_moves_under_the_pointer_during_an_ascent(browser, built):
    with open_front(browser, built) as (page, complaints):
        watch(page)
        begin_ascent(page)
        page.locator(".gahb-live-panel canvas").nth(2).hover()
        seen = pixels_of(page, 3)
        page.wait_for_function(
            "b => document.querySelectorAll('.gahb-live-panel canvas')[3].toDataURL() !== b",
            arg=seen,
        )
        assert page.get_by_text("y − f(y)").is_visible()
        assert asked(page, "filter") == []
        page.get_by_role("button", name="stop").press("Enter")  # the pointer stays where it is
        page.get_by_text("filter of this pixel").wait_for()
        assert complaints == []


def test_a_choice_during_a_run_ends_it_and_is_what_is_shown(browser, built):
    with open_chapter(browser, built, "climb") as (page, complaints):
        watch(page)
        page.get_by_role("button", name="ascend", exact=True).click()
        page.get_by_text("σ̂ =").first.wait_for(timeout=60_000)
        page.get_by_role("button", name="other seed").click()  # anew, at once
        page.wait_for_function("window.asked.filter(([k]) => k === 'ascend').length === 4")
        page.get_by_role("slider", name="σ_end").press("ArrowLeft")
        page.get_by_role("button", name="ascend", exact=True).wait_for()
        shown = pictures_of(page)
        page.wait_for_timeout(1_000)
        assert pictures_of(page) == shown  # what is on its way belongs to nobody
        assert page.locator(".gahb-live-status").text_content().startswith("The law takes")
        assert complaints == []


def test_a_pair_is_of_the_choice_that_is_marked(browser, built):
    with open_chapter(browser, built, "pair") as (page, complaints):
        watch(page)
        main_button(page).click()
        page.wait_for_function("window.asked.filter(([k]) => k === 'ascend').length === 2")
        page.get_by_role("button", name="none (β = 1)").click()
        page.locator(".gahb-live-status").filter(has_text="correlate").wait_for(timeout=60_000)
        assert "β = 1:" in page.locator(".gahb-live-status").text_content()
        assert len(asked(page, "ascend")) == 4
        assert complaints == []


def test_completions_of_another_picture_are_not_shown_as_those_of_this(browser, built):
    with open_chapter(browser, built, "inpaint") as (page, complaints):
        watch(page)
        main_button(page).click()
        page.wait_for_function("window.asked.some(([k]) => k === 'ascend')")
        page.locator("[aria-label=picture] button").nth(1).click()
        page.get_by_role("button", name="complete", exact=True).wait_for()
        shown = pictures_of(page)
        page.wait_for_timeout(1_000)
        assert pictures_of(page) == shown
        assert "answers the new one" in page.locator(".gahb-live-status").text_content()
        assert complaints == []


def test_noise_that_moves_while_filters_are_computed_is_no_error(browser, built):
    with open_chapter(browser, built, "filters") as (page, complaints):
        watch(page)
        slider = page.get_by_role("slider", name="noise σ")
        slider.press("ArrowRight")
        page.wait_for_function("window.asked.some(([k]) => k === 'filter')")
        slider.press("ArrowRight")  # the noisy image is gone while its filters are on their way
        page.wait_for_function("window.asked.filter(([k]) => k === 'filter').length === 2")
        page.locator(".gahb-live-status").filter(has_text="Radii hold").wait_for(timeout=60_000)
        assert said(page) == ""
        assert complaints == []


def test_eigenvectors_of_one_picture_are_not_taken_for_those_of_another(browser, built):
    with open_chapter(browser, built, "shrink") as (page, complaints):
        watch(page)
        page.get_by_role("button", name="the network's own").click()
        page.wait_for_function("window.asked.some(([k]) => k === 'eigenpairs')")
        page.get_by_role("button", name="Fourier").click()
        page.get_by_role("button", name="other noise").click()
        page.locator(".gahb-live-status").filter(has_text="of 1024 kept").wait_for()
        before = len(asked(page, "eigenpairs"))
        page.get_by_role("button", name="the network's own").click()
        page.locator(".gahb-live-status").filter(has_text="of 48 kept").wait_for(timeout=60_000)
        assert len(asked(page, "eigenpairs")) == before + 1  # sought anew
        assert complaints == []


def test_a_failure_that_is_out_of_date_hides_nothing(browser, built):
    """A network that is missing, and another that was chosen meanwhile."""
    with open_front(browser, built) as (page, complaints):
        page.wait_for_selector(".gahb-live-stage")
        page.evaluate(
            """() => {
                const network = GAHB.network, late = new Promise(done => (window.release = done));
                GAHB.network = (item, ...more) => item.name === 'disks'
                    ? late.then(() => { throw new Error('it is missing'); })
                    : network(item, ...more);
            }"""
        )
        page.get_by_role("button", name="disks").click()
        page.get_by_role("button", name="garments", exact=False).first.click()
        page.evaluate("window.release()")
        wait_for_eigenvectors(page)
        assert said(page) == ""
        assert complaints == []


# --- a button keeps its place ---------------------------------------------------------------

PLACES = """() => {
    const stage = document.querySelector('.gahb-live-stage').getBoundingClientRect();
    const inputs = '.gahb-live-tools button, .gahb-live-tools input, .gahb-live-atoms button';
    return [...document.querySelectorAll(inputs)].filter(b => b.type !== 'file').map(b => {
        const r = b.getBoundingClientRect();
        return [r.left - stage.left, r.top - stage.top, r.width, r.height].map(v => Math.round(v));
    });
}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["front", *CHAPTERS])
def test_controls_keep_their_places_while_a_figure_works(browser, built, name, width):
    opened = open_chapter(browser, built, name) if name in CHAPTERS else open_front(browser, built)
    with opened as (page, complaints):
        page.set_viewport_size({"width": width, "height": 900})
        watch(page)
        before = page.evaluate(PLACES)
        label = CHAPTERS[name][1] if name in CHAPTERS else "ascend from noise"
        if label:
            page.get_by_role("button", name=label, exact=True).focus()
            page.keyboard.press("Enter")
        else:
            page.get_by_role("slider").first.press("ArrowRight")
        assert page.evaluate(PLACES) == before  # with "stop" on the button
        said = CHAPTERS[name][2] if name in CHAPTERS else "products"
        page.locator(".gahb-live-status").filter(has_text=said).wait_for(timeout=60_000)
        assert page.evaluate(PLACES) == before
        assert complaints == []


# --- other browsers, other hands ------------------------------------------------------------


def test_a_harmonic_that_was_tapped_comes_to_rest(browser, built):
    """A finger has left the tile when its focus arrives."""
    with browser.new_context(has_touch=True, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto(built.as_uri() + "/book/0.html")
        page.wait_for_selector(".gahb-live-stage")
        page.get_by_role("button", name="a bag").tap()
        wait_for_eigenvectors(page)
        tile = page.locator("button.gahb-live-atom").nth(2)
        tile.tap()
        page.wait_for_function("document.activeElement.matches('button.gahb-live-atom')")
        page.wait_for_timeout(100)
        shown = pixels_of(page, 2)
        page.wait_for_timeout(400)
        assert pixels_of(page, 2) == shown
        page.keyboard.press("Tab")  # by the keyboard the next one sways as long as it has the focus
        page.wait_for_function(
            "b => document.querySelectorAll('.gahb-live-panel canvas')[2].toDataURL() !== b",
            arg=shown,
        )


def test_a_mouse_that_goes_on_to_another_harmonic_moves_that_one(browser, built):
    with open_front(browser, built) as (page, complaints):
        page.wait_for_selector(".gahb-live-stage")
        page.emulate_media(reduced_motion="no-preference")
        page.get_by_role("button", name="a bag").click()
        wait_for_eigenvectors(page)
        for k in (1, 4):  # a click takes the focus from the other
            page.locator("button.gahb-live-atom").nth(k).click()
        shown = pixels_of(page, 2)
        page.wait_for_function(
            "b => document.querySelectorAll('.gahb-live-panel canvas')[2].toDataURL() !== b",
            arg=shown,
        )
        assert complaints == []


# a browser that resists fingerprinting: random pixels for those that are asked for
RESISTING = """CanvasRenderingContext2D.prototype.getImageData = (x, y, w, h) =>
    new ImageData(Uint8ClampedArray.from({length: 4 * w * h}, () => 256 * Math.random()), w, h);"""
# a browser that changes last bits
FARBLING = """const read = CanvasRenderingContext2D.prototype.getImageData;
CanvasRenderingContext2D.prototype.getImageData = function (...area) {
    const image = read.apply(this, area);
    image.data.forEach((v, i) => (image.data[i] = v ^ (i % 3 === 0)));
    return image;
};"""


@pytest.mark.parametrize("script", [RESISTING, FARBLING])
def test_a_browser_that_hides_pixels_says_so_in_place_of_noise(browser, built, script):
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(script)
        page.goto(built.as_uri() + "/book/0.html")
        page.wait_for_selector(".gahb-live-stage")
        open_photograph(page, a_photograph(120, 80))
        if script == FARBLING:
            page.locator(".gahb-live-draw[data-live]").wait_for()
            assert "fingerprinting" not in said(page)
            return
        page.locator(".gahb-live-said").filter(has_text="against fingerprinting").wait_for()
        assert page.locator(".gahb-live-draw[data-live]").count() == 0


def test_the_status_counts_the_eigenvectors_that_were_computed(browser, built):
    with open_front(browser, built) as (page, complaints):
        page.wait_for_selector(".gahb-live-stage")
        page.evaluate(
            """() => {
                const post = Worker.prototype.postMessage;
                Worker.prototype.postMessage = function (job) {
                    const four = job.kind === 'eigenpairs' && {args: {...job.args, num: 4}};
                    return post.call(this, {...job, ...four});
                };
            }"""
        )
        page.get_by_role("button", name="a bag").click()
        page.get_by_text("off by 0.01").wait_for()  # the last of its lines
        assert "the least exact of 4 is" in page.locator(".gahb-live-status").text_content()
        assert complaints == []


def test_a_slider_that_a_browser_moved_meanwhile_is_listened_to(browser, built):
    """WebKit keeps a page that is left, and moves its controls without an event."""
    with open_chapter(browser, built, "line") as (page, complaints):
        page.wait_for_selector(".gahb-live-stage")
        before = page.locator(".gahb-live-status").text_content()
        page.locator("input[type=range]").first.evaluate("input => (input.value = 200)")
        page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
        page.wait_for_function(
            "b => document.querySelector('.gahb-live-status').textContent !== b", arg=before
        )
        assert complaints == []


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("index", range(2 + len(CHAPTERS)))
def test_no_figure_is_wider_than_a_narrow_window(browser, built, index, width):
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.goto(f"{built.as_uri()}/book/{index}.html")
        page.wait_for_selector(".gahb-live-stage")
        assert not is_wider_than_its_window(page)
        cut = page.evaluate(
            """() => [...document.querySelectorAll('.gahb-live *')]
            .filter(e => e.getClientRects().length && !e.matches('.gahb-live-hidden'))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 80))"""
        )
        assert cut == []


def test_without_javascript_the_picture_is_large_and_nobody_is_told_to_draw(browser, built):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(built.as_uri() + "/book/0.html")
        box = page.locator(".gahb-live-picture").bounding_box()
        assert box["width"] > 600  # 396 of its own
        text = page.locator(".gahb-live").inner_text()
        assert "moves only with JavaScript" in text
        assert "A jumper of 32 by 32 pixels" in text
        assert "Draw on" not in text
