"""Odd arguments of every public function: refused in words, or answered rightly.

For each function one good call is found: `GOOD` has a value for each name of an argument, `ALONE`
those of one function. Hypothesis then replaces one argument at a time by values of other kinds,
signs, sizes, shapes and dtypes. What comes back must be a ValueError that
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
from test_denoisers_contract import makers_of

from gahb_core import bases, data, denoisers, images, jacobian, metrics, multiscale, networks, noise
from gahb_core import sampling as sam
from gahb_core.noise import make_generator

ROOMS = (
    noise, images, data, metrics, bases, denoisers, networks, jacobian, sam, multiscale,
)  # fmt: skip
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


# an argument's name → a good value, for all functions but those below
GOOD = {
    "J": SQUARE, "a": Y, "apply": lambda rows: rows * torch.arange(16).to(rows), "b": X,
    "alpha": 2.0, "amplitude": "fixed", "background_alpha": 1.0, "spectrum": "paper",
    "basis": DCT, "batch": 2, "beta": 0.5, "block": 2, "channels": 1, "dataset": "disks",
    "denoiser": half, "denoiser_a": half, "denoiser_b": half, "dim": 3, "gain": 1.0, "h": 0.2,
    "image": X[0], "images": X, "index": 1, "j": 1, "keep": 8, "kind": "soft",
    "labels": X[0, 0] > 0.5, "level": 0.9, "levels": 2, "mask": PARTS.mask[0],
    "max_iterations": 9, "max_products": 200, "max_shift": 1, "net": NET, "num": 2,
    "num_bootstrap": 10, "num_probes": 2, "num_repeats": 2, "parts": PARTS, "power": rand(5),
    "psnr": 20.0, "queries": Y, "reference": rand(9, 1, 3, 3, key="b"), "references": X,
    "regions": REGIONS, "samples": rand(8, 1, 3, 3), "seed": 0, "shape": (1, 4, 4), "shifts": 2,
    "sigma": 0.3, "sigma_0": 1.0, "sigma_end": 0.1, "sigma_max": 2.0, "sigmas": [0.1, 0.5],
    "size": 12, "split": "A", "start": 1, "step": 3, "steps": (), "store": "cpu", "t": 3,
    "tol": 1e-2, "train": rand(12, 1, 3, 3, key="c"), "wavelet": "db2", "x": X, "x_J": X,
    "x_hat": rand(3, 1, 8, 8, key="x_hat"), "y": Y, "y0": X,
}  # fmt: skip
ROOM = {jacobian: {"y": ONE, "num": 4, "block": 3}, multiscale: {"denoiser": SCALES}}
ALONE = {
    "atoms": {"index": [0, 5]},
    "blind_denoiser": {"denoiser": denoisers.empirical_denoiser(X), "contrasts": [0.8, 1.2]},
    "ascend": {"denoiser": shrink},
    "contour_tangents": {"below": PARTS.below[0], "above": PARTS.above[0]},
    "cover_disks": {"place": images.make_disk_parameters(2, 12)[:, :3]},
    "disk_denoiser": {"size": 10},
    "draw_disks": {"parameters": images.make_disk_parameters(2, 12)},
    "draw_ray": {"parameters": rand(2, 1)},
    "draw_sinusoids": {"parameters": rand(2, 2)},
    "empirical_denoiser": {"train": X},
    "estimate_mmse": {"denoiser": RAY},
    "factorize_gaussian": {"mean": X[0, :, :2, :2], "covariance": torch.eye(4), "J": 1},
    "filter_radius": {"weights": X, "pixels": [(0, 1)] * 3, "share": 0.5},
    "adaptive_filters": {"pixels": [(0, 1), (3, 3)]},
    "fit_slope": {"psnr_in": [0.0, 10.0, 20.0], "psnr_out": 20 + rand(5, 3)},
    "frechet_distance": {"a": rand(9, 3), "b": rand(8, 3, key="b")},
    "gaussian_denoiser": {"mean": X[0], "covariance": torch.eye(64), "basis": None},
    "haar_decompose": {"J": 2},
    "haar_merge": {"low": X, "details": X.expand(-1, 3, -1, -1)},
    "initialize": {"net": networks.BFCNN(3, 2)},
    "kl_bound": {"mse_gap": [0.3, 0.2, 0.1], "sigmas": [0.1, 0.2, 0.4]},
    "load_picture": {"source": (255 * X[0, 0].numpy()).astype(np.uint8), "most": 8, "least": 2},
    "load_weights": {"net": networks.BFCNN(3, 2), "weights": NET.state_dict(), "origin": "here"},
    "make_generator": {"seed": 3},
    "make_matrix_basis": {
        "name": "m", "matrix": torch.eye(16), "size": (4, 4), "frequency": torch.ones(16),
    },
    "mixture_denoiser": {"weights": rand(3), "means": X, "covariances": rand(3)},
    "multiscale_denoiser": {"low": half, "details": [half]},
    "open_images": {"dataset": "c_alpha/alpha=2", "split": "B"},
    "refine_disks": {"y": DISK, "sigma": 1.0, "tolerance": 0.9},
    "rescale_range": {"low": 0.1, "high": 0.8},
    "resize_area": {"size": 4},
    "sample": {"denoiser": shrink, "mean": torch.tensor(0.5)},
    "sample_cascade": {"size": 8, "num": 1},
    "sample_normal": {"shape": (2, 3)},
    "sample_uniform": {"shape": (2, 3), "key": "u"},
    "shrinkage_denoiser": {"rule": lambda c, s: c / (1 + s), "mean": 0.3},
    "subspace_overlap": {"a": EYE[:3], "b": EYE[1:4]},
    "sinusoid_denoiser": {"size": 8},
    "sure_denoiser": {"basis": HAAR, "mean": 0.1},
    "sure_threshold": {"c": rand(3, 9), "sigma": torch.tensor([[0.3]])},
    "symmetric_eigenpairs": {"start": rand(2, 16), "max_products": 60, "num": 2},
    "tangent_vectors": {"draw": lambda p: images.draw_sinusoids(p, 8), "parameters": rand(2, 2)},
    "threshold_denoiser": {"basis": HAAR, "a": 2.0, "mean": 0.1},
    "top_eigenpairs": {"num": 2, "block": 4},
    "top_singular_values": {"num": 2, "block": 4},
    "upsample_low": {"low": X, "J": 1},
} | dict.fromkeys(
    ("crop_denoiser", "equivariant_denoiser", "local_denoiser"), {"train": X, "size": 3}
)  # fmt: skip

# what is tested elsewhere: files and downloads, other denoisers' wrappers, linear measurements
ELSEWHERE = {
    "noise_conditional_denoiser", "data_folder", "download", "fetch", "locate", "read_folder",
    "haar_reconstruct",
    "register_images", "append_sigma", "constrain", "sample_constrained", "measure_block_means",
    "measure_blur", "measure_low_frequencies", "measurement_from_functions", "measure_pixels",
    "measure_random",
}  # fmt: skip


def offers(room):
    """Return the functions that a room of the library offers."""
    found = [f for n, f in vars(room).items() if inspect.isfunction(f) and not n.startswith("_")]
    own = [f for f in found if f.__module__.startswith(room.__name__)]
    return [f for f in own if f.__name__ not in ELSEWHERE]


def good_call(function, room=None):
    """Return a good value for each argument, but for those left at a default that is no number."""
    known = GOOD | ROOM.get(room, {}) | ALONE.get(function.__name__, {})
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        left = parameter.default is not parameter.empty or parameter.kind.name.startswith("VAR")
        assert name in known or left, f"add a good {name} of {function.__name__} to ALONE"
        # GOOD is of their usual meaning; a mean of zero, and switches, stay
        usual = name != "mean" and not isinstance(parameter.default, bool)
        if name in known and (usual or name in ALONE.get(function.__name__, {})):
            found[name] = known[name]
    return found


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
        size = 10 if function in (denoisers.disk_denoiser, denoisers.refine_disks) else 8
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


def find_calls():
    """Return function → a good call, of all that the rooms offer, and of families of images."""
    found = {f: good_call(f, room) for room in ROOMS for f in offers(room)}
    for family in data.FAMILIES.values():
        for f in (family.make, family.sample_parameters):
            if f and not f.__name__.startswith(("_", "<lambda>")):
                found.setdefault(f, good_call(f))
        if family.draw and not family.draw.__name__.startswith(("_", "<lambda>")):
            parameters = family.sample_parameters(num=2, size=12, seed=0, start=0)
            found[family.draw] = {"parameters": parameters, "size": 12}
    return found


EVERY = find_calls()
# those that make a denoiser are called, and what they made is applied to Y as well
MAKERS = {f for room in (denoisers, multiscale) for f in makers_of(room)}


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


def test_an_argument_without_a_good_value_is_asked_for():
    def f(shoe):
        return shoe

    with pytest.raises(AssertionError, match="add a good shoe of f to ALONE"):
        good_call(f)
