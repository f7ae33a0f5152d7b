"""Adapters of libraries' networks, by what they have: none of those libraries is imported."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gahb_core.adapters.convention import Adapted, make_adapted
from gahb_core.checks import check_count

PREDICTIONS = {"epsilon": "noise", "sample": "x", "v_prediction": "v"}  # diffusers'
OBJECTIVES = {"pred_noise": "noise", "pred_x0": "x", "pred_v": "v"}  # denoising-diffusion-pytorch's


def _need(thing: Any, name: str, *attributes: str) -> None:
    missing = [a for a in attributes if not hasattr(thing, a)]
    if missing:
        raise ValueError(
            f"{name} must have {', '.join(attributes)}, and a {type(thing).__name__} has no "
            f"{', '.join(missing)}: adapt(net, output, sigma, range, scaling) takes any convention"
        )


def _choose(value: Any, name: str, table: dict[str, str]) -> str:
    if value not in table:
        raise ValueError(f"{name} must be one of {list(table)}, not {value!r}")
    return table[value]


def time_of(alphas_cumprod: Tensor) -> Callable[[Tensor], Tensor]:
    """Return s (B,) → the time t (B,) at which ᾱ(t) = 1/(1 + s²), between whole times by log s.

    Beyond the schedule's noise it is the first or the last time.
    """
    ratio = ((1 - alphas_cumprod) / alphas_cumprod).detach().cpu().double()
    table = ratio[torch.isfinite(ratio)].sqrt().log()  # a schedule may end in noise alone
    if table.ndim != 1 or len(table) < 2 or not bool((table.diff() > 0).all()):
        raise ValueError("alphas_cumprod must be (T,) and fall from 1 towards 0")

    def time(s: Tensor) -> Tensor:
        level = s.detach().cpu().double().log().clamp(table[0], table[-1])
        after = torch.searchsorted(table, level).clamp(1, len(table) - 1)
        share = (level - table[after - 1]) / (table[after] - table[after - 1])
        return (after - 1 + share).to(s)

    return time


def adapt_diffusers(
    unet: nn.Module, scheduler: Any, label: int | None = None, **fixed: Any
) -> Adapted:
    """Return the denoiser of a UNet of `diffusers` with the scheduler that it was trained with.

    x̂ = `scheduler.step(…).pred_original_sample` without its clipping, at any σ: times between
    the whole ones are told as they are.

    Args:
        unet: unet(sample, timestep).sample, of images in [−1, 1].
        scheduler: one that has `alphas_cumprod`, and `config.prediction_type`.
        label: class that it is told, where it is told one.
        fixed: other keywords, such as encoder_hidden_states (of one image).

    Raises:
        ValueError: for a scheduler without ᾱ, as those of flow matching, or another prediction.
    """
    _need(scheduler, "scheduler", "alphas_cumprod", "config")
    config = scheduler.config
    output = _choose(config.prediction_type, "scheduler.config.prediction_type", PREDICTIONS)
    learned = str(getattr(config, "variance_type", "")).startswith("learned")
    if label is not None:
        fixed["class_labels"] = torch.tensor(check_count(label, "label", 0))

    def net(x: Tensor, t: Tensor, **fixed: Any) -> Tensor:
        out = unet(x, t, **fixed).sample
        return out.chunk(2, 1)[0] if learned else out

    channels = getattr(getattr(unet, "config", None), "in_channels", None)
    return make_adapted(
        net, unet, output=output, sigma=time_of(scheduler.alphas_cumprod), range=(-1, 1),
        scaling="vp", fixed=fixed, channels=channels,
    )  # fmt: skip


def adapt_edm(net: nn.Module, label: int | None = None, **fixed: Any) -> Adapted:
    """Return the denoiser of a preconditioned network of EDM: D(x, σ), of images in [−1, 1].

    Args:
        net: net(x, sigma, class_labels), as `EDMPrecond` and its kin; one that runs in float16
            by itself is told force_fp32.
        label: class that it is told, of `net.label_dim`.
        fixed: other keywords.

    Raises:
        ValueError: for a label that is none of its classes.
    """
    if label is not None:
        classes = int(getattr(net, "label_dim", 0))
        if not classes:
            raise ValueError(f"label must be None: net.label_dim is 0, it takes none, not {label}")
        hot = torch.zeros(classes)
        hot[check_count(label, "label", 0, classes - 1)] = 1
        fixed["class_labels"] = hot
    if getattr(net, "use_fp16", False):
        fixed["force_fp32"] = True
    channels = getattr(net, "img_channels", None)
    return make_adapted(net, net, sigma="value", range=(-1, 1), fixed=fixed, channels=channels)


def adapt_kdiffusion(model: nn.Module, **fixed: Any) -> Adapted:
    """Return the denoiser of a model of k-diffusion: model(x, sigma) → x̂, in [−1, 1]."""
    return make_adapted(model, model, sigma="value", range=(-1, 1), fixed=fixed)


def adapt_deepinv(model: nn.Module, **fixed: Any) -> Adapted:
    """Return the denoiser of a `deepinv` denoiser: model(x, sigma) → x̂, in [0, 1].

    Raises:
        ValueError: for a wrapper that clips, as J is 0 where it does.
    """
    for name in ("clip_output", "clip"):
        if getattr(model, name, False) is True:
            raise ValueError(f"model.{name} must be False, not True: where x̂ is clipped J is 0")
    return make_adapted(model, model, sigma="value", fixed=fixed)


def adapt_ddpm_pytorch(diffusion: nn.Module, label: int | None = None, **fixed: Any) -> Adapted:
    """Return the denoiser of a `GaussianDiffusion` of denoising-diffusion-pytorch.

    x̂ = `model_predictions(x, t).pred_x_start` without clipping, at any σ.

    Args:
        diffusion: with model, alphas_cumprod, objective and normalize.
        label: class that its model is told, as `classes`.
        fixed: other keywords of its model.

    Raises:
        ValueError: where one of those is missing, or of another objective.
    """
    _need(diffusion, "diffusion", "model", "alphas_cumprod", "objective", "normalize")
    output = _choose(diffusion.objective, "diffusion.objective", OBJECTIVES)
    if label is not None:
        fixed["classes"] = torch.tensor(check_count(label, "label", 0))
    black, white = (float(diffusion.normalize(torch.tensor(v))) for v in (0.0, 1.0))
    return make_adapted(
        diffusion.model, diffusion.model, output=output, sigma=time_of(diffusion.alphas_cumprod),
        range=(black, white), scaling="vp", fixed=fixed,
        channels=getattr(diffusion, "channels", None),
    )  # fmt: skip
