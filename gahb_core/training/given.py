"""Images and a network that are given to a training, as it takes them, or refused."""

import hashlib
from dataclasses import replace

import torch
from torch import Tensor, nn

from gahb_core.checks import check_finite, check_images
from gahb_core.data import ImageSet
from gahb_core.denoisers.contract import evaluating
from gahb_core.training.recipes import Recipe


def name_images(net: nn.Module, x: Tensor, settings: Recipe) -> tuple[ImageSet, Recipe]:
    """Return images as a set, and settings that name them by their hash."""
    check_finite(check_images(x, "images"), "images")
    if not len(x):
        raise ValueError("images must be one or more, not none")
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"images must lie in [0, 1], not [{low:.3g}, {high:.3g}]: (x + 1)/2 of those in [−1, 1]"
        )
    x = x.detach().float().cpu().contiguous()
    digest = hashlib.sha256(repr(tuple(x.shape)).encode())
    digest.update(x.numpy().data)
    told = torch.cat([x[:1], x[:1, :1]], 1) if settings.told_sigma else x[:1]
    weight = next(net.parameters(), x)
    with torch.no_grad(), evaluating(net):
        try:
            shape = tuple(net(told.to(weight)).shape)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"net must take images {tuple(told.shape)}: {reason}") from error
    if shape != tuple(x[:1].shape):
        raise ValueError(
            f"net must give the noise of images {tuple(x[:1].shape)}, not of shape {shape}"
        )
    named = replace(settings, dataset=f"own/{digest.hexdigest()[:16]}", num=len(x), level=0)
    return ImageSet(lambda indices: x[indices], len(x)), named
