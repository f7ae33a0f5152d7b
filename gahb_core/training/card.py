"""What a finished network is measured on: the figures of its card."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from gahb_core.data import load_images, open_images
from gahb_core.denoisers.contract import Residual, noise_conditional_denoiser, residual_denoiser
from gahb_core.densities.energies import EnergyDenoiser, energy_denoiser
from gahb_core.densities.learned import EnergyNet
from gahb_core.metrics.curves import psnr_curve
from gahb_core.multiscale.denoising import Conditional, conditional_denoiser
from gahb_core.networks.layered import Layered
from gahb_core.noise import sigma_from_psnr
from gahb_core.training.loop import clean_bands
from gahb_core.training.recipes import Recipe

CARD_PSNR_IN = (0, 5, 10, 15, 20, 25, 30, 40)
NetworkDenoiser = Residual | Conditional | EnergyDenoiser


def as_denoiser(net: nn.Module) -> NetworkDenoiser:
    """Return the denoiser that a network is: of images, told σ, or of details told the low band."""
    if isinstance(net, EnergyNet):
        return energy_denoiser(net)
    if isinstance(net, Layered) and net.is_told():
        return noise_conditional_denoiser(net) if net.told == "sigma" else conditional_denoiser(net)
    return residual_denoiser(net)


def measure(net: nn.Module, recipe: Recipe) -> dict:
    """Return mean PSNR-out, of what the network denoises, on 256 test and 256 training images."""
    sigmas = [sigma_from_psnr(p) for p in CARD_PSNR_IN]
    figures: dict[str, list[float]] = {"psnr_in": list(CARD_PSNR_IN)}
    most = open_images(recipe.dataset, "test", size=recipe.size).num or 256
    for split, num in (("test", min(256, most)), (recipe.split, min(256, recipe.num or 256))):
        given, x = clean_bands(recipe, load_images(recipe.dataset, split, num, recipe.size))
        f: Callable[..., Tensor] = as_denoiser(net)
        batch = 64
        if recipe.bands == "details":  # in one batch: what is told goes with all of x
            f, batch = partial(f, condition=given), len(x)
        curve = psnr_curve(f, x, sigmas, seed=1, batch=batch).mean(0)
        figures["test" if split == "test" else "train"] = [round(float(v), 3) for v in curve]
    return figures
