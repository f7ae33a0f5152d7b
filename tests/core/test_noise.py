import pytest
import torch

from gahb_core.noise import (
    SigmaLaw,
    add_noise,
    broadcast_sigma,
    make_generator,
    psnr_from_sigma,
    sample_normal,
    sigma_from_psnr,
)


def test_image_17_is_the_same_alone_or_in_a_batch():
    batch = sample_normal((20, 1, 4, 4), seed=3)
    assert torch.equal(batch[17:18], sample_normal((1, 1, 4, 4), seed=3, start=17))
    assert not torch.equal(batch[17:18], sample_normal((1, 1, 4, 4), seed=4, start=17))


def test_streams_of_neighbouring_seeds_are_unrelated():
    draws = torch.stack([torch.randn(4000, generator=make_generator(s)) for s in range(5)])
    correlations = torch.corrcoef(draws) - torch.eye(5)
    assert correlations.abs().max() < 0.08  # 5 deviations of 1/√4000


def test_no_draw_touches_the_global_generator():
    before = torch.get_rng_state()
    sample_normal((2, 1, 4, 4), seed=0)
    SigmaLaw().sample(5, make_generator(0))
    assert torch.equal(before, torch.get_rng_state())


def test_noise_has_the_deviation_asked_for_image_by_image():
    x = torch.zeros(2, 1, 64, 64, dtype=torch.float64)
    y = add_noise(x, torch.tensor([0.1, 0.5], dtype=torch.float64), seed=1)
    deviations = y.flatten(1).std(1)
    assert torch.allclose(deviations, torch.tensor([0.1, 0.5], dtype=torch.float64), rtol=0.05)
    assert y.dtype == x.dtype


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), torch.tensor([0.1, 0.2, 0.3])])
def test_wrong_sigma_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma must be"):
        broadcast_sigma(sigma, torch.zeros(2, 1, 4, 4))


def test_psnr_and_sigma_are_inverse():
    assert psnr_from_sigma(sigma_from_psnr(17.3)) == pytest.approx(17.3)
    assert psnr_from_sigma(1.0) == 0


@pytest.mark.parametrize(
    ("law", "median"),
    [
        (SigmaLaw("power", 0, 1, 2), 0.25),
        (SigmaLaw("power", 0, 1, 1), 0.5),
        (SigmaLaw("log", 0.01, 1), 0.1),
    ],
)
def test_laws_have_their_range_and_median(law, median):
    sigma = law.sample(20_000, make_generator(0))
    assert sigma.min() >= law.low
    assert sigma.max() <= law.high
    assert float(sigma.median()) == pytest.approx(median, rel=0.05)


@pytest.mark.parametrize("law", [SigmaLaw("log", 0, 1), SigmaLaw("power", 0.5, 0.1)])
def test_law_of_an_empty_range_is_refused(law):
    with pytest.raises(ValueError, match=r"0 < low|law.low must be below 0.1, not 0.5"):
        law.sample(1, make_generator(0))


def test_unknown_law_is_refused():
    with pytest.raises(ValueError, match="law.kind must be one of .* not 'cauchy'"):
        SigmaLaw("cauchy").sample(1, make_generator(0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.complex64])
def test_images_that_are_not_floating_point_are_refused(dtype):
    """In eight bits σ = .1 would be no noise at all, and σ = 25 wrap round."""
    with pytest.raises(ValueError, match=f"x must be floating point, not {dtype}"):
        add_noise(torch.ones(2, 1, 4, 4).to(dtype), 0.1, seed=0)
    with pytest.raises(ValueError, match=f"y must be floating point, not {dtype}"):
        broadcast_sigma(0.1, torch.ones(2, 1, 4, 4).to(dtype))


@pytest.mark.parametrize("seed", [1.5, "1", None, True])
def test_a_seed_that_is_not_whole_is_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number, not"):
        sample_normal((1, 2), seed)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_normal((-1, 2), 0), "shape must be at least 0, not -1"),
        (lambda: sample_normal((1, 2.5), 0), "shape must be a whole number at least 0, not 2.5"),
        (lambda: sample_normal((1, 2), 0, start=-1), "start must be at least 0, not -1"),
        (
            lambda: broadcast_sigma("loud", torch.zeros(1, 2)),
            "sigma must be a number .* not 'loud'",
        ),
        (lambda: psnr_from_sigma(0), "sigma must be above 0, not 0"),
        (lambda: psnr_from_sigma(float("inf")), "sigma must be above 0, not inf"),
        (lambda: sigma_from_psnr(float("nan")), "psnr must be .* not nan"),
        (lambda: SigmaLaw(high=float("inf")).sample(1, make_generator(0)), "law.high .* not inf"),
        (lambda: SigmaLaw(low=float("nan")).sample(1, make_generator(0)), "law.low .* not nan"),
        (lambda: SigmaLaw(power=0).sample(1, make_generator(0)), "law.power must be above 0"),
        (lambda: SigmaLaw().sample(-1, make_generator(0)), "num must be at least 0, not -1"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
