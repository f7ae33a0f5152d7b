"""Training: one resumable loop of least squares, a generator that yields its progress.

The loss is ‖net(x + σz) − σz‖² / σ^p, its minimiser E[σz | y] for any law of σ and any weight that
depends on σ alone. Nothing random is carried from step to step: indices, noise and σ of step t
come from generators made of (seed, t), so that a resumed run equals an unbroken one bit for bit.
"""

import math
import os
import time
from collections import deque
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gahb_core.data import ImageSet, open_images
from gahb_core.denoisers.contract import append_sigma
from gahb_core.densities.energies import dual_score_losses
from gahb_core.densities.learned import EnergyNet
from gahb_core.multiscale.haar import haar_level
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.noise import make_generator
from gahb_core.training.given import name_images
from gahb_core.training.optimizers import make_optimizer
from gahb_core.training.recipes import Recipe, fingerprint, make_network
from gahb_core.training.state import FIELDS, read_state, write_state

OWN = Recipe("own", "own")  # how a network of one's own is trained where nothing is said
AHEAD = 8  # threads that make batches for a GPU


class Progress(NamedTuple):
    """Where a training stands.

    Attributes:
        step: steps done.
        num_steps: steps in all.
        loss: mean of the weighted loss a pixel over the last hundred steps.
        seconds: spent in training, over all runs.
        images: images seen.
        curve: (step, loss, seconds) at every hundredth step so far.
        net: the network; the finished one (averaged weights, re-estimated norms) at the end.
        done: whether this is the last.
    """

    step: int
    num_steps: int
    loss: float
    seconds: float
    images: int
    curve: list
    net: nn.Module
    done: bool


@lru_cache(maxsize=64)
def _permutation(num: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(num, generator=make_generator(seed, "epoch", epoch), device="cpu")


def batch_indices(step: int, batch_size: int, num: int | None, seed: int) -> Tensor:
    """Return which images step `step` sees, (batch_size,): every image once an epoch, reshuffled.

    Endless sets (`num` None) give new ones for ever.
    """
    positions = torch.arange(step * batch_size, (step + 1) * batch_size, device="cpu")
    if num is None:
        return positions
    epochs = positions // num
    rows = [
        _permutation(num, seed, e)[positions[epochs == e] % num] for e in epochs.unique().tolist()
    ]
    return torch.cat(rows)


def clean_bands(recipe: Recipe, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the network is told, and what it denoises, of clean images `x` (B, 1, S, S).

    Details of level j: x_j (B, 1, h, h) and x̄_j (B, 3, h, h), h = S / 2^j; otherwise no band
    (B, 0, h, h) and x_j.
    """
    low, details = haar_level(x, recipe.level)
    return (low, details) if recipe.bands == "details" else (low[:, :0], low)


def make_batch(recipe: Recipe, images: ImageSet, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, the noise σz (of the shape of what is denoised) and σ (B,) of a step, on the CPU.

    y is what the network takes: the clean band that it is told, if any, before the noisy ones, and
    σ as a constant channel after them, if it is told.
    """
    indices = batch_indices(step, recipe.batch_size, recipe.num, recipe.seed)
    given, x = clean_bands(recipe, images.take(indices))
    generator = make_generator(recipe.seed, "noise", step)
    sigma = recipe.law.sample(len(x), generator)
    z = torch.randn(x.shape, generator=generator, dtype=torch.float32, device="cpu")
    noise = sigma[:, None, None, None] * z
    y = torch.cat([given, x + noise], 1)
    return (append_sigma(y, sigma) if recipe.told_sigma else y), noise, sigma


def _batches(
    recipe: Recipe, images: ImageSet, first: int, device: str
) -> Iterator[tuple[Tensor, ...]]:
    """Yield the batches of the steps from `first`; those for a GPU are made ahead, by threads.

    A GPU trains on 128 images of 80×80 in a fraction of the time that a core needs to make them.
    """
    make, steps = partial(make_batch, recipe, images), range(first, recipe.num_steps)
    if torch.device(device).type == "cpu":
        yield from map(make, steps)
        return
    threads = min(AHEAD, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    waiting: deque = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step: a warm-up of 2%, then a cosine to zero, or halvings."""
    done = step / recipe.num_steps
    if recipe.schedule == "halving":
        return recipe.learning_rate * 0.5 ** int(10 * done)
    if recipe.schedule != "cosine":
        raise ValueError(f"schedule must be 'cosine' or 'halving', not {recipe.schedule!r}")
    warm = min(1.0, (step + 1) / (0.02 * recipe.num_steps))
    return recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))


def _norms(net: nn.Module) -> list[BiasFreeNorm]:
    return [m for m in net.modules() if isinstance(m, BiasFreeNorm)]


@torch.no_grad()
def estimate_norms(net: nn.Module, recipe: Recipe, images: ImageSet, num_batches: int = 40) -> None:
    """Set every running_sd of `net` to the root mean square over batches of the training law.

    The momentum average of training is noisy and trails the weights, most of all averaged ones.
    """
    norms = _norms(net)
    if not norms:  # a transformer's follow their input alone
        return
    device = norms[0].gammas.device
    totals = [torch.zeros_like(n.running_sd) for n in norms]
    net.train()
    for norm in norms:
        norm.momentum = 1.0
    for i in range(num_batches):
        y, _, sigma = (t.to(device) for t in make_batch(recipe, images, recipe.num_steps + i))
        net(y, sigma) if isinstance(net, EnergyNet) else net(y)
        for total, norm in zip(totals, norms, strict=True):
            total += norm.running_sd**2 / num_batches
    for total, norm in zip(totals, norms, strict=True):
        norm.running_sd.copy_(total.sqrt())
        norm.momentum = 0.1
    net.eval()


class _State:
    """All that a step changes, and its file."""

    def __init__(self, net: nn.Module, recipe: Recipe, device: str) -> None:
        self.recipe, self.device = recipe, device
        self.step, self.seconds = 0, 0.0
        self.curve: list[tuple[int, float, float]] = []
        # channels last is the faster layout for narrow networks and the slower for wide ones
        last = recipe.channels[0] < 64 or recipe.precision == "bfloat16"
        layout = torch.channels_last if last else torch.contiguous_format
        self.net = net.to(device, memory_format=layout)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(recipe, self.net)
        self.mean = {k: v.clone() for k, v in self.net.state_dict().items()}
        self.losses = torch.zeros(
            100, dtype=torch.float32, device=device
        )  # there, no step waits for the one before

    def save(self, path: Path) -> None:
        data = {n: getattr(self, n) for n in FIELDS}
        data |= {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        write_state(path, data, fingerprint(self.recipe))

    def load(self, path: Path) -> None:
        data = read_state(path, self.recipe)
        try:
            self.net.load_state_dict(data["net"])
            self.optimizer.load_state_dict(data["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(
                f"state {path} must fit the network of {self.recipe.name!r}; "
                f"delete it to start anew ({str(error).splitlines()[0]})"
            ) from error
        for name in FIELDS:
            setattr(self, name, data[name])
        self.losses = self.losses.to(self.device)
        self.mean = {k: v.to(self.device) for k, v in self.mean.items()}

    def update_mean(self) -> None:
        decay = min(self.recipe.ema, (self.step + 1) / (self.step + 10))
        now = {k: v for k, v in self.net.state_dict().items() if v.is_floating_point()}
        torch._foreach_lerp_([self.mean[k] for k in now], list(now.values()), 1 - decay)


def _move(x: Tensor, device: str) -> Tensor:
    """Return a batch on `device`; pinned, it travels to a GPU while that computes."""
    if torch.device(device).type != "cuda":
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)


def _loss(net: nn.Module, recipe: Recipe, y: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    if isinstance(net, EnergyNet):
        errors = dual_score_losses(net, y - noise, noise, sigma)
        return errors.score.mean() + errors.time.mean()
    errors = ((net(y).float() - noise) ** 2).flatten(1).mean(1)  # where the network is in halves
    return (errors * sigma**-recipe.weight_power).mean()


def _rounded() -> AbstractContextManager:
    """Allow a GPU to round the float32 of convolutions to ten bits (TF32): faster, and enough."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=True)


@torch.enable_grad()
def _take_step(state: _State, batch: tuple[Tensor, ...]) -> Tensor:
    """Do one step of the optimizer and return the weighted loss a pixel, as a tensor."""
    recipe = state.recipe
    frozen = state.step >= recipe.freeze_norm * recipe.num_steps
    state.net.train()
    for norm in _norms(state.net) if frozen else ():
        norm.eval()
    y, noise, sigma = (_move(t, state.device) for t in batch)
    half = recipe.precision == "bfloat16"
    with _rounded(), torch.autocast(y.device.type, torch.bfloat16, enabled=half):
        loss = _loss(state.net, recipe, y, noise, sigma)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(recipe, state.step)
    state.optimizer.zero_grad(set_to_none=True)
    with _rounded():
        loss.backward()
    if recipe.clip:
        nn.utils.clip_grad_norm_(state.net.parameters(), recipe.clip)
    state.optimizer.step()
    return loss.detach()


def fit(
    recipe: Recipe,
    state_path: Path | None = None,
    device: str = "cpu",
    save_seconds: float = 60.0,
    *,
    also: Collection[int] = (),
) -> Iterator[Progress]:
    """Train `recipe`, from its saved state where there is one; yield progress every 100 steps.

    The last progress (done) holds the finished network. Closing the generator early loses at most
    what came after the last save.

    Args:
        recipe: what to train.
        state_path: file of the resumable state, written atomically; None: nothing is kept.
        device: of the network.
        save_seconds: time between saves.
        also: further steps after which progress is yielded; its network is the one in training.

    Raises:
        ValueError: where the state is of another recipe, and within `torch.inference_mode`.
        MissingData: where the images are not on this machine.
        FloatingPointError: where the loss is no longer finite.
    """
    images = open_images(recipe.dataset, recipe.split, recipe.num, recipe.size)
    yield from fit_network(
        make_network(recipe), images, recipe, state_path, device=device, save_seconds=save_seconds,
        also=also,
    )  # fmt: skip


def fit_network(
    net: nn.Module,
    images: Tensor | ImageSet,
    settings: Recipe = OWN,
    state_path: Path | None = None,
    *,
    device: str = "cpu",
    save_seconds: float = 60.0,
    also: Collection[int] = (),
) -> Iterator[Progress]:
    """Train any network on any images, in place; yield progress every 100 steps, as `fit` does.

    The network learns the noise: net(x + σz) → σz, so that y − net(y) is its denoiser
    (`residual_denoiser`); with `settings.told_sigma` it is given σ as one more channel.

    Args:
        net: a module, float32.
        images: (N, C, H, W) in [0, 1], or an image set.
        settings: how it is trained; what a recipe says of network and data is of no effect.
        state_path: file of the resumable state; one of other images or settings is refused.
        device: of the network.
        save_seconds: time between saves.
        also: further steps after which progress is yielded.

    Raises:
        ValueError: for images or a network that cannot be trained on or trained, a state of
            another training, and within `torch.inference_mode`.
        FloatingPointError: where the loss is no longer finite.
    """
    if torch.is_inference_mode_enabled():
        raise ValueError("training must run outside torch.inference_mode, which keeps no gradients")
    recipe = settings
    if isinstance(images, Tensor):
        images, recipe = name_images(net, images, settings)
    state = _State(net, recipe, device)
    if state_path and state_path.exists():
        state.load(state_path)
    before, began, saved = state.seconds, time.monotonic(), time.monotonic()
    for batch in _batches(recipe, images, state.step, device):
        if state.step == math.ceil(recipe.freeze_norm * recipe.num_steps):
            estimate_norms(state.net, recipe, images)
        state.losses[state.step % 100] = _take_step(state, batch)
        if recipe.ema:
            state.update_mean()
        state.step += 1
        state.seconds = before + time.monotonic() - began
        if state.step % 100 == 0 or state.step in also:
            yield _progress(state)
        if state_path and time.monotonic() - saved > save_seconds:
            state.save(state_path)
            saved = time.monotonic()
    if state_path:
        state.save(state_path)
    yield _finish(state, images)


def _progress(state: _State, done: bool = False) -> Progress:
    loss = float(state.losses[: max(state.step, 1)].mean())  # fewer than a hundred, at first
    if not math.isfinite(loss):
        raise FloatingPointError(
            f"the loss of {state.recipe.name!r} is {loss} at step {state.step}: "
            "lower learning_rate or set clip"
        )
    if not done and state.step % 100 == 0:
        state.curve.append((state.step, loss, round(state.seconds, 1)))
    images = state.step * state.recipe.batch_size
    return Progress(
        state.step,
        state.recipe.num_steps,
        loss,
        state.seconds,
        images,
        state.curve,
        state.net,
        done,
    )


def _finish(state: _State, images: ImageSet) -> Progress:
    if state.recipe.ema:
        state.net.load_state_dict(state.mean)
    if state.recipe.freeze_norm >= 1:
        estimate_norms(state.net, state.recipe, images)
    state.net.eval()
    return _progress(state, done=True)
