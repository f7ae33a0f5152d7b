"""Nothing assumes the CPU, or single precision: the inputs tell device and dtype.

There need be no GPU: with `torch.device("meta")` as the default device, a tensor that is made
without one has no data, and what it is used for fails or is on no CPU. Random numbers are drawn on
the CPU from their generator, and moved: a GPU sees the same noise.
"""

import copy
import random
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from test_arguments import DISK, EVERY, X, Y, call, flatten, shrink

from gahb_core import denoisers, densities, sampling, training
from gahb_core.denoisers.posterior import window_rule
from gahb_core.noise import add_noise, sample_normal
from gahb_core.training import RECIPES, fit


def constrain(measurement, x):
    """Return samples whose measured part is that of `x`."""
    known = measurement.analyze(x)
    options = {"h": 0.2, "sigma_end": 0.1, "max_iterations": 60, "beta": 0.5, "blind": False}
    return sampling.sample_constrained(shrink, measurement, known, x.shape[1:], **options)


def energy_of(x):
    return densities.exact_energy(denoisers.gaussian_denoiser(x[0], torch.eye(64, device="cpu")))


MORE = {
    "measure_pixels": lambda x: constrain(sampling.measure_pixels(X[0] > 0.5), x),
    "measure_block_means": lambda x: constrain(sampling.measure_block_means(8, 2), x),
    "measure_random": lambda x: constrain(sampling.measure_random(5, (1, 8, 8), 0), x),
    "measure_low_frequencies": lambda x: constrain(sampling.measure_low_frequencies(8, 2), x),
    "measure_blur": lambda x: constrain(sampling.measure_blur(8, 1.0).measurement, x),
    "energy_denoiser": lambda x: densities.energy_denoiser(energy_of(x))(x, 0.3),
    "time_score": lambda x: densities.time_score(energy_of(x), x, 0.3),
    "dual_score_losses": lambda x: densities.dual_score_losses(energy_of(x), x, x / 9, 0.3),
    "estimate_log_z": lambda x: densities.estimate_log_z(energy_of(x), x, 2.0, 0),
    "refine_disks": lambda x: denoisers.refine_disks(DISK.to(x), 1.0, 0.9, 8)(DISK.to(x), 1.0),
    "denoising_errors": lambda x: densities.denoising_errors(
        shrink, x, torch.tensor([0.3, 0.1], device="cpu"), num_draws=2
    ),
    "bits_per_dim": lambda x: densities.bits_per_dim(x.flatten(), 64),
}


def learn(name):
    """Return the weights of a network after one step of training, and what it is measured on."""
    (done,) = fit(replace(RECIPES["smoke"][name], num_steps=1))
    return done.net.state_dict()


# one recipe of each kind, of images that every machine has
TRAINED = {
    (r.architecture, r.told_sigma, r.bands): name
    for name, r in RECIPES["smoke"].items()
    if r.dataset.startswith(("fashion", "c_alpha"))
}
# no result of its own; an example that makes a tensor; a denoiser (see MORE)
EXAMPLES = {f: good for f, good in EVERY.items()
            if f.__name__ not in ("finish", "symmetric_eigenpairs", "refine_disks")}  # fmt: skip
NO_TENSOR = ("factorize_gaussian", "multiscale_denoiser", "conditional_denoiser")
CALLS = {
    **{f.__name__: partial(call, f, good) for f, good in EXAMPLES.items()},
    **{name: partial(function, X) for name, function in MORE.items()},
    **{f"train {name}": partial(learn, name) for name in TRAINED.values()},
    "load_denoiser": lambda: training.load_denoiser("fashion/N=10/A")(Y.repeat(1, 1, 4, 4)),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_tensor_is_made_on_a_device_that_is_told(name):
    with torch.device("meta"):
        made = CALLS[name]()
    wanted = flatten(CALLS[name]())
    assert wanted or name in NO_TENSOR
    for got, want in zip(flatten(made), wanted, strict=True):
        assert got.device.type == "cpu"
        assert torch.equal(got, want)


@contextmanager
def default_double():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def seeded_otherwise():
    state = random.getstate(), torch.get_rng_state()
    random.seed(5), torch.manual_seed(5)
    try:
        yield
    finally:
        random.setstate(state[0]), torch.set_rng_state(state[1])


TAKEN_AS_GIVEN = {
    "float64 by default": default_double, "no gradients": torch.no_grad,
    "inference": torch.inference_mode, "gradients": torch.enable_grad,
    "other seeds of the process": seeded_otherwise,
}  # fmt: skip


@pytest.mark.parametrize("setting", TAKEN_AS_GIVEN)
@pytest.mark.parametrize("name", [n for n in CALLS if n != "make_generator"])
def test_results_do_not_hang_on_what_a_process_has_set(name, setting):
    wanted = flatten(CALLS[name]())
    with TAKEN_AS_GIVEN[setting]():
        if setting == "inference" and name.startswith(("train ", "dual_score_losses")):
            with pytest.raises(ValueError, match="must .* outside torch.inference_mode"):
                CALLS[name]()
            return
        made = flatten(CALLS[name]())
    for got, want in zip(made, wanted, strict=True):
        got, want = torch.as_tensor(got), torch.as_tensor(want)
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, equal_nan=True)


def as_double(value):
    """Return a copy of a value in which all that is single is double."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, torch.nn.Module):
        return copy.deepcopy(value).double()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(as_double, value))
    if isinstance(value, list | tuple):
        return type(value)(map(as_double, value))
    return {k: as_double(v) for k, v in value.items()} if isinstance(value, dict) else value


def tensors(value):
    """Return the tensors of a result, as they are."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, torch.nn.Module):
        return tensors(value.state_dict())
    if isinstance(value, list | tuple | dict):
        values = value.values() if isinstance(value, dict) else value
        return [t for part in values for t in tensors(part)]
    return []


def test_double_precision_stays():
    """Inputs in float64 give results in float64."""
    given = {f: good for f, good in EXAMPLES.items() if any(
        t.is_floating_point() for t in tensors(list(good.values())))}  # fmt: skip
    assert len(given) > 50
    kinds = {
        f.__name__: tensors(call(f, as_double(good), torch.float64)) for f, good in given.items()
    }
    kinds |= {name: tensors(function(as_double(X))) for name, function in MORE.items()}
    single = {
        name: {str(t.dtype) for t in found if t.is_floating_point() and t.dtype != torch.float64}
        for name, found in kinds.items()
    }
    assert {name: dtypes for name, dtypes in single.items() if dtypes} == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_is_drawn_on_the_cpu_and_moved(dtype):
    """The same numbers, whatever device and dtype they are for."""
    z = sample_normal((2, 1, 4, 4), 3)
    assert z.device.type == "cpu"
    assert torch.equal(add_noise(torch.zeros(2, 1, 4, 4, dtype=dtype), 1.0, 3), z.to(dtype))


def test_constants_and_levels_are_double_where_the_inputs_are():
    nodes, _ = window_rule(*torch.tensor([[0.5], [1e6]], dtype=torch.float64), 5)
    wanted = torch.from_numpy(np.polynomial.legendre.leggauss(5)[0]) / 2 + 0.5
    torch.testing.assert_close(nodes[0], wanted, rtol=0, atol=1e-15)
    step = next(iter(sampling.ascend(shrink, as_double(X), sigma_0=0.3, beta=0.5)))
    assert step.sigma_hat.tolist() == [0.3] * 3
