"""Other packages' own figures, where they are installed: the extra [compare]."""

import pytest
import torch
from extras import needs

from gahb_core import adapters, denoisers, metrics
from gahb_core.adapters import check_denoiser
from gahb_core.data import load_images
from gahb_core.noise import add_noise, make_generator


def rand(*shape, key="x"):
    return torch.rand(shape, generator=make_generator(0, key))


def make_unet():
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(8, 16),
        layers_per_block=1, norm_num_groups=4, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


@needs("diffusers")
@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("betas", ["linear", "squaredcos_cap_v2"])
def test_x_hat_is_the_pred_original_sample_of_diffusers(kind, betas):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule=betas, prediction_type=kind, clip_sample=False)
    unet = make_unet()
    f = adapters.adapt_diffusers(unet, scheduler)
    for t in (0, 17, 900):
        alpha = float(scheduler.alphas_cumprod[t])
        sigma = ((1 - alpha) / alpha) ** 0.5 / 2
        y = add_noise(rand(2, 3, 16, 16), sigma, t)
        x_t = alpha**0.5 * (2 * y - 1)
        with torch.no_grad():
            theirs = scheduler.step(unet(x_t, t).sample, t, x_t).pred_original_sample
            ours = 2 * f(y, sigma) - 1
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


@needs("diffusers")
def test_a_step_of_ddim_is_one_of_ours():
    """Deterministic DDIM from s to s' goes (1 − s'/s) of the way to x̂, in z = x_t / α."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False)
    scheduler.set_timesteps(50)
    unet, y = make_unet(), rand(1, 3, 16, 16)
    f = adapters.adapt_diffusers(unet, scheduler)
    t, after = (int(t) for t in scheduler.timesteps[20:22])
    (a, s), (b, r) = (
        (float(p) ** 0.5, float((1 - p) / p) ** 0.5) for p in scheduler.alphas_cumprod[[t, after]]
    )
    with torch.no_grad():
        x_t = a * (2 * y - 1)
        theirs = scheduler.step(unet(x_t, t).sample, t, x_t).prev_sample
        ours = b * (2 * (y + (1 - r / s) * (f(y, s / 2) - y)) - 1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@needs("diffusers")
def test_attention_of_diffusers_has_its_derivative():
    from diffusers import DDPMScheduler

    f = adapters.adapt_diffusers(make_unet().double(), DDPMScheduler())
    y = add_noise(rand(1, 3, 16, 16).double(), 0.2, 0)
    values = check_denoiser(f, y, 0.2).values
    assert values["adjoint"] < 1e-5
    assert values["derivative"] < 1e-3


@needs("deepinv")
def test_the_posterior_mean_of_a_set_is_deepinv_s_mmse():
    from deepinv.models import MMSE

    train, y = load_images("fashion", "A", 100), load_images("fashion", "test", 4)
    ours = denoisers.empirical_denoiser(train)
    for sigma in (0.1, 0.5, 2.0):
        noisy = add_noise(y, sigma, 0)
        theirs = adapters.adapt_deepinv(MMSE(train, torch.device("cpu")))(noisy, sigma)
        torch.testing.assert_close(ours(noisy, sigma), theirs, rtol=1e-3, atol=1e-4)


@needs("deepinv")
@pytest.mark.parametrize(
    ("name", "size"), [("DnCNN", {"depth": 4, "nf": 8}), ("DRUNet", {"nc": (4, 4, 8, 8), "nb": 1})]
)
def test_denoisers_of_deepinv_have_their_derivatives(name, size):
    from deepinv import models

    torch.manual_seed(0)
    net = getattr(models, name)(in_channels=3, out_channels=3, pretrained=None, **size).double()
    values = check_denoiser(
        adapters.adapt_deepinv(net), add_noise(rand(1, 3, 16, 16).double(), 0.2, 0), 0.2
    ).values
    assert values["adjoint"] < 1e-5
    assert values["derivative"] < 1e-3


@needs("sklearn")
def test_nearest_neighbours_are_those_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    train, queries = load_images("fashion", "A", 500), load_images("fashion", "test", 50)
    for measure in ("correlation", "cosine"):
        x, q = ((v - v.mean((1, 2, 3), keepdim=True) * (measure == "correlation")).flatten(1)
                for v in (train, queries))  # fmt: skip
        distance, index = NearestNeighbors(n_neighbors=1, metric="cosine").fit(x).kneighbors(q)
        found = metrics.nearest_images(queries, train, measure)
        assert found.index.tolist() == index[:, 0].tolist()
        torch.testing.assert_close(
            found.similarity, 1 - torch.from_numpy(distance[:, 0]).float(), rtol=0, atol=1e-5
        )


@needs("prdc")
@pytest.mark.parametrize("measure", ["correlation", "cosine"])
def test_the_nearest_other_image_is_as_far_as_prdc_says(measure):
    """Of vectors of norm 1, ‖a − b‖² = 2 − 2⟨a, b⟩; the package takes Euclidean distances."""
    from prdc.prdc import compute_nearest_neighbour_distances

    images = load_images("fashion", "A", 200)
    x = (images - images.mean((1, 2, 3), keepdim=True) * (measure == "correlation")).flatten(1)
    unit = torch.nn.functional.normalize(x.double()).numpy()
    theirs = torch.from_numpy(compute_nearest_neighbour_distances(unit, 1))
    ours = (2 - 2 * metrics.nearest_other(images.double(), measure, block=64)).clamp(min=0).sqrt()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
