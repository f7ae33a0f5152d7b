"""Probes: whether a denoiser, any callable, is what all that is read off it takes for granted.

`estimate` is the one way in which the library calls a denoiser that it was handed: what comes back
must be like what went in, and what went in must be left alone. `check_pure` calls it twice and
watches: one that draws, or writes to something that lasts, gives other answers from call to call,
or leaves a user's network changed. `remembered` keeps what was found: a denoiser is asked once.
"""

import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

LOOSE = 1e3  # roundings by which two answers to one question may differ: a GPU adds in any order


def _version(y: Tensor) -> int | None:
    """Return how often `y` was written to; None where that is not counted."""
    return None if y.is_inference() else y._version


def _check_like(x_hat: Any, y: Tensor) -> None:
    """Refuse an answer that is not like `y`, and say the cure."""
    if not isinstance(x_hat, Tensor):
        kind, cure = type(x_hat).__name__, "return a tensor"
        for name in ("sample", "pred_original_sample", "denoised", "mean", "x"):
            if isinstance(getattr(x_hat, name, None), Tensor):
                cure = f"wrap it: lambda y, sigma=None: f(y).{name}"
                break
        if isinstance(x_hat, tuple | list | dict):
            cure = "wrap it, so that only the estimate is returned"
        raise ValueError(f"denoiser must give a tensor like y, not of type {kind}; {cure}")
    if x_hat.shape != y.shape:
        cure = "so that it can be taken for an estimate of y"
        if x_hat.ndim == y.ndim == 4 and x_hat.shape[2:] == y.shape[2:]:
            cure = "one channel out for each channel in: a wrapper can pick those of the estimate"
        raise ValueError(
            f"denoiser must give the shape of y, {tuple(y.shape)}, not {tuple(x_hat.shape)}: {cure}"
        )
    if x_hat.dtype != y.dtype or x_hat.device != y.device:
        raise ValueError(
            f"denoiser must give {y.dtype} on {y.device} like y, not {x_hat.dtype} on "
            f"{x_hat.device}: return x_hat.to(y)"
        )


def estimate(denoiser: Callable[..., Tensor], y: Tensor, *given: Any) -> Tensor:
    """Return x_hat = denoiser(y, *given), checked to be like `y` and to have left `y` alone.

    It costs nothing beside the call.

    Args:
        denoiser: f(y, sigma, …) → x_hat.
        y: noisy images (B, ...).
        given: sigma, and what else it is called with.

    Raises:
        ValueError: where x_hat is no tensor, of another shape, dtype or device than `y`, or `y`
            was written to.
    """
    before = _version(y)
    x_hat = denoiser(y, *given)
    _check_like(x_hat, y)
    if _version(y) != before:
        raise ValueError(
            "denoiser must not change y in place, and wrote to it: y * a in place of y.mul_(a), or "
            "begin with y = y.clone()"
        )
    return x_hat


def _written(func: Any, args: tuple, kwargs: dict) -> Iterator[Tensor]:
    """Yield the tensors that an operation writes to, by its schema."""
    names = [argument.name for argument in func._schema.arguments]
    values = dict(zip(names, args, strict=False)) | kwargs
    # a norm's schema says nothing of the running moments that it moves
    norm = "batch_norm" in func._schema.name and values.get("training")
    for argument in func._schema.arguments:
        writes = argument.alias_info is not None and argument.alias_info.is_write
        if writes or (norm and argument.name.startswith("running_")):
            leaves = tree_leaves(values.get(argument.name))
            yield from (t for t in leaves if isinstance(t, Tensor))


class _Watch(TorchDispatchMode):
    """Keeps, of every tensor that is written to and was not made meanwhile, what it held before."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in _written(func, args, kwargs):
            key = tensor.untyped_storage()._cdata
            if key not in self.made and key not in self.before:
                self.before[key] = (tensor, tensor.clone())
        out = func(*args, **kwargs)
        for given, returned in zip(func._schema.returns, _as_tuple(out), strict=False):
            if given.alias_info is None:
                fresh = [t for t in tree_leaves(returned) if isinstance(t, Tensor)]
                self.made |= {t.untyped_storage()._cdata for t in fresh}
        return out


def _as_tuple(out: Any) -> tuple:
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def _call_watched(denoiser: Callable[..., Tensor], y: Tensor, given: tuple) -> tuple[Tensor, dict]:
    with _Watch() as watch:
        x_hat = estimate(denoiser, y, *given)
        return x_hat.clone(), watch.before


def _restore(before: dict, again: dict) -> list[Tensor]:
    """Give tensors that both calls wrote to what they held before the first; return them."""
    lasting = [before[key] for key in before.keys() & again.keys()]
    for tensor, value in lasting:
        tensor.copy_(value)
    return [tensor for tensor, _ in lasting]


@torch.no_grad()
def check_pure(denoiser: Callable[..., Tensor], y: Tensor, *given: Any) -> Tensor:
    """Return x_hat of a denoiser called twice: it draws nothing and changes nothing that lasts.

    What it wrote to is given its values back, and so is the state of the global random numbers.

    Args:
        denoiser: f(y, sigma, …) → x_hat.
        y: noisy images (B, ...).
        given: sigma, and what else it is called with.

    Raises:
        ValueError: as `estimate` does; where the two answers differ; where both calls wrote to a
            tensor that was there before, as the running moments of a norm in training mode.
    """
    devices = [y.device] if y.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        x_hat, first = _call_watched(denoiser, y, given)
        again, second = _call_watched(denoiser, y, given)
    if lasting := _restore(first, second):
        some = ", ".join(str(tuple(t.shape)) for t in lasting[:3])
        raise ValueError(
            f"denoiser must change nothing, and wrote to {len(lasting)} tensors that it keeps "
            f"(shapes {some}), as a norm in training mode does: call net.eval() first"
        )
    gap, size = float((x_hat - again).norm()), float(x_hat.norm())
    if gap > LOOSE * torch.finfo(x_hat.dtype).eps * size:  # not where they are not finite
        raise ValueError(
            f"denoiser must give one answer for one y, not two {gap / size:.2g} of their norm apart"
            ": it draws, as dropout in training mode does, or it remembers; call net.eval() "
            "first, or give it a seed of its own"
        )
    return x_hat


_MEMORY: WeakKeyDictionary = WeakKeyDictionary()  # denoiser → modes → what was found


def _held(denoiser: Any) -> Iterator[Any]:
    """Yield what a denoiser shows of what it is made of, itself first."""
    yield denoiser
    f = denoiser
    while isinstance(f, functools.partial):
        yield from (*f.args, *f.keywords.values())
        f = f.func
    yield from (f, *getattr(f, "__dict__", {}).values())
    for cell in getattr(f, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue
    names = getattr(getattr(f, "__code__", None), "co_names", ())
    yield from (f.__globals__[name] for name in names if name in f.__globals__)


def _modes(denoiser: Any) -> tuple[bool, ...]:
    """Return which modules of a denoiser are in training mode."""
    nets = [part for part in _held(denoiser) if isinstance(part, nn.Module)]
    return tuple(module.training for net in nets for module in net.modules())


def remembered(denoiser: Any) -> dict[Hashable, Any]:
    """Return what was found of a denoiser before, to look up and to add to.

    It is forgotten with the denoiser, and where a network that it shows (itself, an attribute, a
    name that its code uses) went to training mode or out of it. Nothing is kept of one that
    cannot be a key.
    """
    try:
        by_mode = _MEMORY.setdefault(denoiser, {})
    except TypeError:
        return {}
    return by_mode.setdefault(_modes(denoiser), {})


def ask_of(y: Tensor, *given: Any) -> Hashable:
    """Return the key of a question at images like `y`: their size, dtype, device, what is given."""
    return (*y.shape[1:], y.dtype, y.device, *(value is None for value in given))
