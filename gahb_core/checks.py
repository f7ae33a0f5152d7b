"""Checks: what an argument must be, and the one sentence with which another one is refused.

Every check raises ValueError that names the argument, the rule and the value, or returns what it
was given (a number as a number), so that it can stand where the argument is first used.
"""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

MANY = 2**62  # more than any tensor has elements


def check_tensor(x: Tensor, name: str = "x") -> Tensor:
    """Return `x`, a tensor of any kind."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} must be a tensor, not of type {type(x).__name__}")
    return x


def check_floating(x: Tensor, name: str = "x") -> Tensor:
    """Return `x`, a tensor of floating point numbers: sums and noise of integers wrap or vanish."""
    if not check_tensor(x, name).is_floating_point():
        raise ValueError(f"{name} must be floating point, not {x.dtype}")
    return x


def check_finite(x: Tensor, name: str = "x") -> Tensor:
    """Return `x`, floating point and without inf or nan. Not for use within `torch.func`."""
    check_floating(x, name)
    # the least and the greatest value show it without a copy of x, which may be large
    ends = torch.stack(x.detach().aminmax()) if x.numel() else x.detach()
    if not bool(torch.isfinite(ends).all()):
        bad = x.numel() - int(torch.isfinite(x).sum())
        raise ValueError(f"{name} must be finite, but {bad} of {x.numel()} values are inf or nan")
    return x


def check_images(x: Tensor, name: str = "x", channels: int | None = None) -> Tensor:
    """Return `x`, floating point of shape (B, C, H, W), with `channels` channels if given."""
    check_floating(x, name)
    if x.ndim != 4 or (channels is not None and x.shape[1] != channels) or 0 in x.shape[1:]:
        shape = f"(B, {'C' if channels is None else channels}, H, W)"
        raise ValueError(f"{name} must be of shape {shape}, not {tuple(x.shape)}")
    return x


def check_points(x: Tensor, shape: Sequence[int], name: str = "y") -> Tensor:
    """Return `x`, floating point of shape (B, *shape)."""
    check_floating(x, name)
    if x.ndim < 1 or x.shape[1:] != tuple(shape):
        wanted = ", ".join(["B", *map(str, shape)])
        raise ValueError(f"{name} must be of shape ({wanted}), not {tuple(x.shape)}")
    return x


def check_number(
    value: Any,
    name: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a float, finite and within bounds: `low` and `high` belong to the range.

    Args:
        value: a number, or a tensor of one.
        name: of the argument, for the message.
        low: the least value allowed.
        high: the greatest value allowed.
        above: a lower bound that is not allowed itself.
        below: an upper bound that is not allowed itself.
    """
    one = isinstance(value, Tensor) and value.numel() == 1 and value.dtype != torch.bool
    number = value.item() if one else value
    good = isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
    inside = good and low <= number <= high
    inside = inside and (above is None or number > above) and (below is None or number < below)
    if not inside:
        bounds = [f"at least {low}" if low > -math.inf else ""]
        bounds += [f"above {above}" if above is not None else ""]
        bounds += [f"at most {high}" if high < math.inf else ""]
        bounds += [f"below {below}" if below is not None else ""]
        rule = " and ".join(filter(None, bounds)) or "a finite number"
        raise ValueError(f"{name} must be {rule}, not {value!r}")
    return float(number)


def check_whole(value: Any, name: str) -> int:
    """Return `value` as an int: a whole number of any sign, and no truth value."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return int(value)


def check_count(value: Any, name: str, low: int = 1, high: int | None = None) -> int:
    """Return `value` as an int from `low` to `high` (None: no end)."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not low <= value <= (MANY if high is None else high):
        rule = f"at least {low}" if high is None else f"in {low} … {high}"
        kind = "be" if high is None else "lie"
        rule = f"{kind} {rule}" if whole else f"be a whole number {rule}"
        raise ValueError(f"{name} must {rule}, not {value!r}")
    return int(value)


def check_shape(shape: Any, name: str = "shape", low: int = 0) -> tuple[int, ...]:
    """Return `shape`, one or more whole numbers, each at least `low`, as a tuple."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or not len(shape):
        raise ValueError(f"{name} must be one or more whole numbers, not {shape!r}")
    return tuple(check_count(n, name, low) for n in shape)


def check_series(values: Any, name: str) -> Tensor:
    """Return `values`, a list or a tensor of finite numbers, as float64 of shape (K,)."""
    try:
        device = getattr(values, "device", "cpu")
        series = torch.as_tensor(values, dtype=torch.float64, device=device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers (K,), not {values!r}") from error
    if series.ndim != 1:
        raise ValueError(f"{name} must be of shape (K,), not {tuple(series.shape)}")
    return check_finite(series, name)


def check_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return `value`, one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, not {value!r}")
    return value
