"""Odd arguments of every public function: refused in words, or answered rightly.

For each function one good call is written down. Hypothesis then replaces one argument at a time by
values of other kinds, signs, sizes, shapes and dtypes. What comes back must be a ValueError that
says which argument must be what; or a result that is finite where the argument was, not finite
where it was not (a NaN that vanishes is a wrong result), the same when asked twice, and the same in
another precision.
"""

import inspect
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_denoisers_contract import EXAMPLES as EXAMPLES_OF_DENOISERS
from test_denoisers_contract import GREY

from gahb_core import bases, data, denoisers, images, jacobian, metrics, multiscale, networks, noise
from gahb_core import sampling as sam
from gahb_core.noise import make_generator

ROOMS = (noise, images, metrics, bases, denoisers, networks, jacobian, sam, multiscale)
EXAMPLES = 25  # a function


def rand(*shape, key="x"):
    return torch.rand(shape, generator=make_generator(0, key))


X = rand(3, 1, 8, 8)
Y = rand(3, 1, 8, 8, key="y")
ONE = X[:1]
SQUARE = rand(16, 16, key="J") - 0.5
COVARIANCE = torch.cov(rand(90, 6, key="c").T)
DCT = bases.make_dct(8)
HAAR = bases.make_wavelet(8, "haar", 2)
PARTS = images.make_c_alpha_parts(6, 2.0, 8)
REGIONS = denoisers.fit_regions(PARTS)
NET = networks.initialize(networks.BFCNN(3, 2), 0)
EYE = torch.eye(16).reshape(16, 1, 4, 4)
DISKS = denoisers.disk_denoiser(10, 8)
RAY = denoisers.ray_denoiser(X[0])
SCALES = multiscale.multiscale_denoiser(lambda y, s=None: 0.9 * y, [lambda y, s, g: y / 2])
DISK = images.make_disks(1, 10)


def half(y, sigma=None, condition=None):
    """A blind denoiser whose Jacobian is far from symmetric."""
    return 0.4 * y + 0.1 * y.roll(1, -1)


def shrink(y, sigma=None):
    return 0.5 + 0.02 * (y - 0.5)


def draws(maker):
    return {"num": 2, "size": 12, "seed": 1, "start": 3} | maker


# one good call of each function: the arguments that are replaced, one at a time
CASES = {
    noise.make_generator: {"seed": 3},
    noise.sample_normal: {"shape": (2, 3), "seed": 0, "start": 1},
    noise.sample_uniform: {"shape": (2, 3), "seed": 0, "start": 1, "key": "u"},
    noise.broadcast_sigma: {"sigma": 0.3, "y": Y},
    noise.flatten_images: {"x": X},
    noise.add_noise: {"x": X, "sigma": 0.2, "seed": 1, "start": 2},
    noise.psnr_from_sigma: {"sigma": 0.1},
    noise.sigma_from_psnr: {"psnr": 20.0},
    images.make_c_alpha: draws({"alpha": 2.0, "background_alpha": 1.0, "spectrum": "paper"}),
    images.make_c_alpha_parts: draws({"alpha": 2.0, "amplitude": "fixed"}),
    images.make_disk_parameters: draws({}),
    images.make_disks: draws({}),
    images.draw_disks: {"parameters": images.make_disk_parameters(2, 12), "size": 12},
    images.cover_disks: {"place": images.make_disk_parameters(2, 12)[:, :3], "size": 12},
    images.make_ray_parameters: {"num": 2, "seed": 1, "start": 0},
    images.make_ray: {"image": X[0], "num": 2, "seed": 1, "start": 0},
    images.draw_ray: {"parameters": rand(2, 1), "image": X[0]},
    images.make_sinusoid_parameters: {"num": 2, "seed": 1, "start": 0},
    images.make_sinusoids: draws({}),
    images.draw_sinusoids: {"parameters": rand(2, 2), "size": 8},
    images.resize_area: {"x": X, "size": 4},
    images.pixel_permutation: {"num": 9, "seed": 0},
    images.shuffle_pixels: {"x": X, "seed": 0},
    images.unshuffle_pixels: {"x": X, "seed": 0},
    images.tangent_vectors: {
        "draw": lambda p: images.draw_sinusoids(p, 8),
        "parameters": rand(2, 2),
    },
    data.load_images: {"dataset": "disks", "split": "A", "num": 2, "size": 12},
    data.open_images: {"dataset": "c_alpha/alpha=2", "split": "B", "num": 2, "size": 12},
    data.load_picture: {
        "source": (255 * X[0, 0].numpy()).astype(np.uint8),
        "most": 8,
        "least": 2,
    },
    metrics.mse: {"x_hat": Y, "x": X},
    metrics.psnr: {"x_hat": Y, "x": X},
    metrics.correlation: {"a": Y, "b": X},
    metrics.cosine_similarity: {"a": Y, "b": X},
    metrics.shifted_correlation: {"a": Y, "b": X, "max_shift": 1},
    metrics.nearest_images: {"queries": Y, "references": X, "block": 2, "max_shift": 1},
    metrics.nearest_other: {"images": X, "measure": "cosine", "block": 2},
    metrics.paired_difference: {
        "denoiser_a": half,
        "denoiser_b": half,
        "x": X,
        "sigmas": [0.1, 0.5],
        "seed": 0,
        "batch": 2,
    },
    metrics.psnr_curve: {"denoiser": half, "x": X, "sigmas": [0.1, 0.5], "seed": 0, "batch": 2},
    metrics.fit_slope: {
        "psnr_in": [0.0, 10.0, 20.0],
        "psnr_out": 20 + rand(5, 3),
        "seed": 0,
        "num_bootstrap": 10,
        "level": 0.9,
    },
    metrics.estimate_sure: {"denoiser": half, "y": Y, "sigma": 0.3, "seed": 0, "num_probes": 2},
    metrics.kl_bound: {"mse_gap": [0.3, 0.2, 0.1], "sigmas": [0.1, 0.2, 0.4]},
    metrics.fit_pca: {"train": rand(12, 1, 3, 3), "dim": 4},
    metrics.frechet_distance: {"a": rand(9, 3), "b": rand(8, 3, key="b")},
    metrics.frechet_pca: {
        "samples": rand(9, 1, 3, 3),
        "reference": rand(8, 1, 3, 3, key="b"),
        "train": rand(12, 1, 3, 3, key="c"),
        "dim": 4,
    },
    metrics.estimate_frechet_floor: {
        "reference": rand(9, 1, 3, 3),
        "train": rand(12, 1, 3, 3, key="c"),
        "num": 4,
        "dim": 3,
        "num_repeats": 2,
        "seed": 0,
    },
    bases.atoms: {"basis": DCT, "index": [0, 5]},
    bases.dct_matrix: {"num": 6},
    bases.make_dct: {"size": 6},
    bases.make_fourier: {"size": 6},
    bases.make_pixels: {"size": 6},
    bases.make_wavelet: {"size": 8, "wavelet": "db2", "levels": 2},
    bases.wavelet_matrix: {"wavelet": "db2", "num": 8},
    bases.max_levels: {"size": 8},
    bases.make_matrix_basis: {
        "name": "m",
        "matrix": torch.eye(16),
        "size": (4, 4),
        "frequency": torch.ones(16),
    },
    bases.graph_laplacian: {"labels": (X[0, 0] > 0.5)},
    bases.make_shape_harmonics: {"labels": (X[0, 0] > 0.5)},
    bases.m_term_error: {"basis": DCT, "x": X},
    bases.fit_spectrum: {"basis": DCT, "x": X, "seed": 0, "num_bootstrap": 10},
    denoisers.estimate_sigma: {"y": Y, "x_hat": X},
    denoisers.blind_sigma: {"denoiser": half, "y": Y},
    denoisers.score: {"denoiser": half, "y": Y, "sigma": 0.3},
    denoisers.require_sigma: {"sigma": 0.3, "y": Y},
    denoisers.universal_factor: {"num": 64},
    denoisers.wiener_factors: {"power": rand(5), "sigma": 0.2},
    denoisers.sure_threshold: {"c": rand(3, 9), "sigma": torch.tensor([[0.3]])},
    denoisers.grid_shifts: {"num": 2, "step": 3},
    denoisers.estimate_mmse: {"denoiser": RAY, "x": X, "sigma": 0.3, "seed": 0, "start": 0},
    denoisers.fit_regions: {"parts": PARTS},
    denoisers.region_covariance: {"mask": PARTS.mask[0], "regions": REGIONS},
    denoisers.contour_tangents: {
        "mask": PARTS.mask[0],
        "below": PARTS.below[0],
        "above": PARTS.above[0],
    },
    denoisers.contour_covariance: {"parts": PARTS, "index": 1, "regions": REGIONS},
    denoisers.refine_disks: {"y": DISK, "sigma": 1.0, "tolerance": 0.9, "keep": 8},
    networks.num_parameters: {"net": NET},
    networks.receptive_field: {"net": NET},
    networks.fold_norm: {"net": NET},
    networks.initialize: {"net": networks.BFCNN(3, 2), "seed": 0, "gain": 1.0},
    networks.load_weights: {
        "net": networks.BFCNN(3, 2),
        "weights": NET.state_dict(),
        "origin": "here",
    },
    jacobian.jacobian_matrix: {"denoiser": half, "y": ONE, "sigma": 0.3, "block": 9},
    jacobian.linearize: {"denoiser": half, "y": ONE, "block": 2},
    jacobian.linearity_error: {"denoiser": half, "y": ONE},
    jacobian.adaptive_filters: {"denoiser": half, "y": ONE, "pixels": [(0, 1), (3, 3)], "block": 2},
    jacobian.filter_radius: {"weights": X, "pixels": [(0, 1)] * 3, "share": 0.5},
    jacobian.symmetric_part: {"J": SQUARE},
    jacobian.eigendecompose: {"J": SQUARE, "shape": (1, 4, 4)},
    jacobian.svd: {"J": SQUARE, "shape": (1, 4, 4)},
    jacobian.asymmetry: {"J": SQUARE},
    jacobian.left_right_alignment: {"J": SQUARE, "num": 3},
    jacobian.subspace_overlap: {"a": EYE[:3], "b": EYE[1:4]},
    jacobian.estimate_trace: {"denoiser": half, "y": ONE, "num": 4, "seed": 0, "block": 3},
    jacobian.estimate_squared_norm: {"denoiser": half, "y": ONE, "num": 4, "seed": 0, "block": 3},
    jacobian.estimate_all: {"denoiser": half, "y": ONE, "num": 4, "seed": 0, "block": 3},
    jacobian.estimate_asymmetry: {"denoiser": half, "y": ONE, "num": 4, "seed": 0, "block": 3},
    jacobian.symmetric_eigenpairs: {
        "apply": lambda rows: rows * torch.arange(16).to(rows),
        "start": rand(2, 16),
        "num": 2,
        "tol": 1e-2,
        "max_products": 60,
        "seed": 0,
    },
    jacobian.top_eigenpairs: {
        "denoiser": half,
        "y": ONE,
        "num": 2,
        "tol": 1e-2,
        "block": 4,
        "max_products": 200,
        "seed": 0,
        "store": "cpu",
    },
    jacobian.top_singular_values: {
        "denoiser": half,
        "y": ONE,
        "num": 2,
        "tol": 1e-2,
        "block": 4,
        "max_products": 200,
        "seed": 0,
        "store": "cpu",
    },
    sam.step_size: {"t": 3, "h": 0.1},
    sam.sigma_schedule: {"sigma_0": 1.0, "sigma_end": 0.05, "h": 0.05, "beta": 0.3},
    sam.ascend: {
        "denoiser": shrink,
        "y0": X,
        "h": 0.2,
        "beta": 0.5,
        "sigma_end": 0.1,
        "sigma_0": 1.0,
        "seed": 0,
        "start": 1,
        "max_iterations": 9,
        "sigma_max": 2.0,
    },
    sam.sample: {
        "denoiser": shrink,
        "num": 2,
        "shape": (1, 4, 4),
        "seed": 0,
        "start": 1,
        "mean": torch.tensor(0.5),
        "sigma_0": 1.0,
        "h": 0.2,
        "sigma_end": 0.1,
        "max_iterations": 9,
    },
    sam.finish: {"steps": ()},
    multiscale.haar_split: {"x": X},
    multiscale.haar_merge: {"low": X, "details": X.expand(-1, 3, -1, -1)},
    multiscale.haar_decompose: {"x": X, "J": 2},
    multiscale.haar_level: {"x": X, "j": 1},
    multiscale.upsample_low: {"low": X, "J": 1},
    multiscale.rescale_range: {"x": X, "low": 0.1, "high": 0.8},
    multiscale.super_resolve: {"denoiser": SCALES, "x_J": X, "seed": 0, "start": 1},
    multiscale.sample_cascade: {"denoiser": SCALES, "num": 1, "size": 8, "seed": 0, "channels": 1},
    multiscale.factorize_gaussian: {"mean": X[0, :, :2, :2], "covariance": torch.eye(4), "J": 1},
}

# those that make a denoiser are called, and what they made is applied to Y as well
MAKERS = {
    denoisers.gaussian_denoiser: {"mean": X[0], "covariance": torch.eye(64)},
    denoisers.mixture_denoiser: {"weights": rand(3), "means": X, "covariances": rand(3)},
    denoisers.empirical_denoiser: {"train": X, "block": 2},
    denoisers.blind_denoiser: {
        "denoiser": denoisers.empirical_denoiser(X),
        "sigmas": [0.3, 0.5],
        "contrasts": [0.8, 1.2],
    },
    denoisers.ray_denoiser: {"image": X[0]},
    denoisers.sinusoid_denoiser: {"size": 8},
    denoisers.disk_denoiser: {"size": 10, "keep": 8},
    denoisers.shrinkage_denoiser: {"basis": DCT, "rule": lambda c, s: c / (1 + s), "mean": 0.3},
    denoisers.wiener_denoiser: {"basis": DCT, "x": X},
    denoisers.oracle_denoiser: {"basis": DCT, "x": X},
    denoisers.threshold_denoiser: {"basis": HAAR, "a": 2.0, "kind": "soft", "mean": 0.1},
    denoisers.sure_denoiser: {"basis": HAAR, "mean": 0.1},
    denoisers.cycle_spin_denoiser: {"denoiser": half, "shifts": 2},
    denoisers.residual_denoiser: {"net": NET},
    denoisers.region_denoiser: {"mask": PARTS.mask[0], "regions": REGIONS},
    denoisers.contour_denoiser: {"parts": PARTS, "index": 1, "regions": REGIONS},
    multiscale.multiscale_denoiser: {"low": half, "details": [half]},
    multiscale.conditional_denoiser: {"net": NET},
}

# what is tested elsewhere: files and downloads, other denoisers' wrappers, linear measurements
ELSEWHERE = {
    "data_folder", "download", "fetch", "locate", "haar_reconstruct",
    "crop_denoiser", "equivariant_denoiser", "local_denoiser", "noise_conditional_denoiser",
    "append_sigma", "constrain", "sample_constrained", "measure_block_means", "measure_blur",
    "measure_low_frequencies", "measurement_from_functions", "measure_pixels", "measure_random",
}  # fmt: skip

DOCUMENTED = (ValueError, jacobian.NotConvergedError, sam.DivergedError)
# of which only the shape counts, or the name, or how they go with another argument, or the time
KEPT = {
    (noise.broadcast_sigma, "y"),
    (denoisers.require_sigma, "y"),
    (noise.sample_uniform, "key"),
    (networks.load_weights, "origin"),
    (jacobian.symmetric_eigenpairs, "start"),
    (denoisers.refine_disks, "tolerance"),
}
INFINITE = {metrics.psnr, metrics.psnr_curve}  # of an exact copy
NUMBERS = [float("nan"), float("inf"), -float("inf"), -1, -0.5, 0, 0.5, 1.5, 2, 7, 1e-12, 1e-30,
           True, "8", None, 1j, torch.tensor(torch.nan), np.int64(3), np.float64(0.5)]  # fmt: skip
TENSORS = {
    "integers": lambda t: (5 * t).long(),
    "bytes": lambda t: (200 * t).to(torch.uint8),
    "booleans": lambda t: t > 0.5,
    "complex": lambda t: t.to(torch.complex64),
    "double": lambda t: t.double(),
    "one nan": lambda t: torch.where(torch.arange(t.numel()).reshape(t.shape) == 1, torch.nan, t),
    "infinite": lambda t: t / 0,
    "zero": lambda t: 0 * t,
    "negative": lambda t: -t,
    "none of them": lambda t: t[:0],
    "the first": lambda t: t[:1],
    "one axis fewer": lambda t: t[0] if len(t) else t,
    "one axis more": lambda t: t[None],
    "no column": lambda t: t[..., :0],
    "one column fewer": lambda t: t[..., 1:],
    "three channels": lambda t: torch.cat([t, t, t], min(1, t.ndim - 1)),
    "a list": lambda t: t.tolist(),
    "an array": lambda t: t.numpy(),
    "nothing": lambda t: None,
}
WORDS = ["", "nope", "PAPER", 3, None, float("nan"), "disks/size=3", "c_alpha/alpha=-1"]


def odd_values(good):
    """Return a strategy of values in place of `good`, by its type, or None where it is kept."""
    if isinstance(good, torch.Tensor) and good.is_floating_point() and good.ndim:
        return st.sampled_from(sorted(TENSORS)).map(lambda how: TENSORS[how](good))
    if isinstance(good, bool | torch.Tensor) or callable(good) or hasattr(good, "_fields"):
        return None
    if isinstance(good, str):
        return st.sampled_from(WORDS)
    if isinstance(good, int | float):
        return st.one_of(
            st.sampled_from(NUMBERS),
            st.integers(-3, 6),
            st.sampled_from([12, 40, 1e6, -1e6]),
            st.floats(-10, 10, width=32),
        )
    if isinstance(good, list | tuple) and good and isinstance(good[0], int | float):
        number = st.sampled_from(NUMBERS)
        changed = st.tuples(st.integers(0, len(good) - 1), number).map(
            lambda pair: [pair[1] if k == pair[0] else v for k, v in enumerate(good)]
        )
        return st.one_of(changed, st.sampled_from([[], list(good)[:-1], [*good, good[-1]], None]))
    return None


def flatten(result):
    """Return all tensors and numbers of a result, of generators those of their first 40 items."""
    if isinstance(result, torch.Tensor):
        return [result.detach().double() if not result.is_complex() else result]
    if isinstance(result, float | int):
        return [torch.tensor(float(result), dtype=torch.float64)]
    if isinstance(result, dict):
        return flatten(list(result.values()))
    if isinstance(result, torch.nn.Module):
        return flatten(result.state_dict())
    if isinstance(result, torch.Generator):
        return flatten(torch.rand(3, generator=result))
    if hasattr(result, "__next__"):
        return flatten(list(itertools.islice(result, 40)))
    if isinstance(result, list | tuple):
        return [t for part in result for t in flatten(part)]
    return []


def call(function, arguments, dtype=torch.float32):
    """Return the result of a call; of one that makes a denoiser, its estimate from that dtype."""
    result = function(**arguments)
    if function in MAKERS and not isinstance(
        result, multiscale.Conditional | multiscale.MultiScale
    ):
        size = 10 if function is denoisers.disk_denoiser else 8
        y = DISK.expand(3, -1, -1, -1) if size == 10 else Y
        y = y.to(torch.float64 if isinstance(result, denoisers.Gaussian) else dtype)
        result = [result(y, 0.3)]
    return list(itertools.islice(result, 40)) if hasattr(result, "__next__") else result


def run(function, arguments):
    """Return the tensors of a call; of one that makes a denoiser, those of its estimate."""
    return flatten(call(function, arguments))


def is_finite(value):
    if isinstance(value, torch.Tensor | np.ndarray):
        return bool(torch.isfinite(torch.as_tensor(value)).all())
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, float) or bool(np.isfinite(value))


def check(function, good, name, value):
    """Hold one call with one odd argument against what was promised."""
    known = {*inspect.signature(function).parameters, *good, "y", "c"}
    call = f"{function.__name__}({name}={value!r})"
    try:
        found, error = run(function, good | {name: value}), None
    except DOCUMENTED as raised:
        found, error = [], raised
    if error is not None:
        message = str(error)
        assert type(error) is not ValueError or "must" in message, f"{call}: {message}"
        assert type(error) is not ValueError or any(n in message for n in known), (
            f"{call}: {message}"
        )
        return
    finite = all(bool(torch.isfinite(t).all()) for t in found)
    if not is_finite(value):
        assert not finite or not found, f"{call} is finite: what was not is lost"
        return
    if function not in INFINITE:
        assert finite, f"{call} is not finite"
    again = run(function, good | {name: value})
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True)), f"{call} differs"
    repeated = function in (jacobian.top_eigenpairs, jacobian.top_singular_values)
    if isinstance(value, torch.Tensor) and value.dtype == torch.float64 and not repeated:
        for a, b in zip(found, run(function, good), strict=True):
            # eigenvectors have either sign
            torch.testing.assert_close(a.abs(), b.abs(), rtol=1e-3, atol=1e-3, msg=call)


def denoiser_cases():
    """Return the good call of each denoiser's maker that is an example, and has none above."""
    return {
        e.maker: dict(inspect.signature(e.maker).bind(*e.args()).arguments)
        for e in EXAMPLES_OF_DENOISERS.values()
        if e.maker not in CASES | MAKERS and e.maker.__name__ not in ELSEWHERE and e.shape == GREY
    }


def family_cases():
    """Return a good call of what each family of images makes and draws, if it has none above."""
    found = {}
    for family in data.FAMILIES.values():
        calls = {family.make: draws({}), family.sample_parameters: draws({})}
        if family.draw:
            parameters = family.sample_parameters(num=2, size=12, seed=0, start=0)
            calls[family.draw] = {"parameters": parameters, "size": 12}
        public = {f for f in calls if f and not f.__name__.startswith(("_", "<lambda>"))}
        found |= {f: calls[f] for f in public if f not in CASES}
    return found


MAKERS |= denoiser_cases()
EVERY = CASES | MAKERS | family_cases()


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f"{f.__module__[10:]}.{f.__name__}")
@settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_an_odd_argument_is_refused_or_answered_rightly(function, data):
    good = EVERY[function]
    pools = {name: odd_values(value) for name, value in good.items()}
    names = sorted(n for n, pool in pools.items() if pool is not None and (function, n) not in KEPT)
    if not names:
        return
    name = data.draw(st.sampled_from(names))
    check(function, good, name, data.draw(pools[name]))


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f"{f.__module__[10:]}.{f.__name__}")
def test_the_good_call_is_good(function):
    if function is sam.finish:
        return
    assert all(bool(torch.isfinite(t).all()) for t in run(function, EVERY[function]))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__.removeprefix("gahb_core."))
def test_every_public_function_is_here(room):
    public = [n for n in vars(room) if not n.startswith("_")]
    functions = {n for n in public if inspect.isfunction(getattr(room, n))}
    own = {n for n in functions if getattr(room, n).__module__.startswith("gahb_core")}
    own -= {n for n in functions if getattr(room, n).__module__ == "gahb_core.checks"}
    assert own - {f.__name__ for f in EVERY} - ELSEWHERE == set()
