"""Values as they are kept: tensors by safetensors, and the rest by JSON that says where they were.

joblib.Memory keeps what functions return too, as pickles: they run what they hold, so they cannot
ship with a book, and it keys by the text of one function, not by the modules that this one uses.
"""

import importlib
import math
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from gahb_book.kept.code import is_of_library

COARSE = 256  # numbers of a tensor that may be kept in 8 or 16 bits


class Packed(NamedTuple):
    """A value as it is kept: a tree of JSON, and the file of its tensors, empty where it has none.

    In the tree a text, a number, a truth value or None stands for itself; what else there is, for
    one key that says its kind.
    """

    tree: Any
    arrays: bytes


def _is_picture(x: Tensor) -> bool:
    """Return whether a tensor is of pictures (…, H, W), and not of figures."""
    return x.is_floating_point() and x.ndim >= 3 and x.numel() >= COARSE


class _Packer:
    def __init__(self, bits: int) -> None:
        self.bits, self.arrays = bits, dict[str, Tensor]()

    def pack(self, value: Any) -> Any:
        """Return the tree of a value; its tensors go to `arrays`."""
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, Tensor):
            if self.bits < 32 and _is_picture(value):
                keep = self._levels if self.bits == 8 else self._halves
                return keep(value.detach())
            place = self._keep(value), value.device.type
            return {"tensor": place[0] if place[1] == "cpu" else list(place)}
        if isinstance(value, np.generic):
            return self.pack(value.item())
        if isinstance(value, np.ndarray):
            return {"array": self._keep(torch.from_numpy(np.ascontiguousarray(value)))}
        if isinstance(value, dict):
            return {"dict": [[self.pack(k), self.pack(v)] for k, v in value.items()]}
        if isinstance(value, list):
            return {"list": [self.pack(v) for v in value]}
        if isinstance(value, tuple):
            return self._tuple(value)
        raise ValueError(
            "a kept value must be made of tensors, numbers, text, lists, tuples and dicts, and one "
            f"is of type {type(value).__qualname__}: return what it is made from"
        )

    def _tuple(self, value: tuple) -> dict:
        kind, items = type(value), [self.pack(v) for v in value]
        if kind is tuple:
            return {"tuple": items}
        if not (is_of_library(kind.__module__) and hasattr(kind, "_fields")):
            raise ValueError(
                f"a kept tuple must be plain or a NamedTuple of the library, not a {kind.__name__} "
                "of a notebook: return a dict"
            )
        return {"named": [kind.__module__, kind.__qualname__, items]}

    def _keep(self, x: Tensor) -> int:
        if x.layout != torch.strided or x.is_complex():
            raise ValueError(f"a kept tensor must be dense and real, not {x.layout}, {x.dtype}")
        x = x.detach().cpu().contiguous().clone()
        self.arrays[str(len(self.arrays))] = x
        return len(self.arrays) - 1

    def _levels(self, x: Tensor) -> dict:
        """Keep a tensor as 256 levels between its extremes."""
        low, high = (float(v) for v in x.double().aminmax())
        if not math.isfinite(high - low):
            raise ValueError(f"a tensor kept in 8 bits must be finite, not in {low} … {high}")
        step = (high - low) / 255 or 1.0
        levels = ((x.double() - low) / step).round().to(torch.uint8)
        return {"levels": [self._keep(levels), x.device.type, low, step]}

    def _halves(self, x: Tensor) -> dict:
        """Keep a tensor in half precision: eleven bits of each number."""
        if not bool((x.abs() <= torch.finfo(torch.half).max).all()):
            raise ValueError("a tensor kept in 16 bits must be finite, and within 65,504")
        return {"half": [self._keep(x.half()), x.device.type]}


def pack(value: Any, bits: int = 32) -> Packed:
    """Return a value as it is kept.

    Args:
        value: of tensors (dense, real), arrays, numbers, text, lists, tuples, NamedTuples of the
            library, and dicts.
        bits: 8: floating point pictures (…, H, W) are kept as 256 levels between their extremes,
            and come back in float32; 16: in half precision, and come back in float32; 32: as they
            are.

    Raises:
        ValueError: for a value of another kind.
    """
    packer = _Packer(bits)
    tree = packer.pack(value)
    arrays = safetensors.torch.save(packer.arrays) if packer.arrays else b""
    return Packed(tree, arrays)


def unpack(packed: Packed, place: bool = True) -> Any:
    """Return the value that was packed.

    Args:
        packed: by `pack`.
        place: whether tensors go to the kind of device that they were on.

    Raises:
        ValueError: for what was not packed by `pack`.
    """
    arrays = safetensors.torch.load(packed.arrays) if packed.arrays else {}

    def tensor(where: int | list) -> Tensor:
        key, device = where if isinstance(where, list) else (where, "cpu")
        return arrays[str(key)].to(device if place else "cpu")

    def make(tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        ((kind, held),) = tree.items()
        if kind == "float":
            return float(held)
        if kind == "tensor":
            return tensor(held)
        if kind == "half":
            return tensor(held).float()
        if kind == "levels":
            *where, low, step = held
            return (tensor(where).double() * step + low).float()
        if kind == "array":
            return tensor(held).numpy()
        if kind == "dict":
            return {make(k): make(v) for k, v in held}
        if kind == "list":
            return [make(v) for v in held]
        if kind == "tuple":
            return tuple(make(v) for v in held)
        if kind == "named":
            return _named(held[0], held[1])(*(make(v) for v in held[2]))
        raise ValueError(f"a kept value must be of a known kind, not {kind!r}")

    return make(packed.tree)


def _named(module: str, name: str) -> Any:
    """Return a NamedTuple of the library, by name: nothing else is imported for a kept value."""
    kind = getattr(importlib.import_module(module), name, None) if is_of_library(module) else None
    if not (isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        raise ValueError(f"a kept tuple must be a NamedTuple of the library, not {module}.{name}")
    return kind


def differences(a: Any, b: Any, *, rtol: float, atol: float, where: str = "value") -> list[str]:
    """Return where two values differ by more than a tolerance; none: nowhere.

    Args:
        a: the one.
        b: the other; numbers may differ from those of `a` by atol + rtol · max|a|, the maximum
            over a tensor.
        rtol: of the largest number of a tensor, or of a number.
        atol: beside it.
        where: what to call them.
    """
    if isinstance(a, np.ndarray):
        a = torch.from_numpy(a)
    if isinstance(b, np.ndarray):
        b = torch.from_numpy(b)
    if type(a) is not type(b):
        return [f"{where} is a {type(b).__name__}, and was a {type(a).__name__}"]
    if isinstance(a, Tensor):
        return _tensor_differences(a, b, rtol, atol, where)
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return [f"{where} has other keys"]
        pairs = [(f"{where}[{k!r}]", a[k], b[k]) for k in a]
    elif isinstance(a, list | tuple):
        if len(a) != len(b):
            return [f"{where} has {len(b)} items, and had {len(a)}"]
        pairs = [(f"{where}[{i}]", x, y) for i, (x, y) in enumerate(zip(a, b, strict=True))]
    elif isinstance(a, float):
        near = a == b or abs(a - b) <= atol + rtol * abs(a) or (a != a and b != b)
        return [] if near else [f"{where} is {b:.6g}, and was {a:.6g}"]
    else:
        return [] if a == b else [f"{where} is {b!r}, and was {a!r}"]
    return [
        text for name, x, y in pairs for text in differences(x, y, rtol=rtol, atol=atol, where=name)
    ]


def _tensor_differences(a: Tensor, b: Tensor, rtol: float, atol: float, where: str) -> list[str]:
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        is_, was = f"{b.dtype} {tuple(b.shape)}", f"{a.dtype} {tuple(a.shape)}"
        return [f"{where} is {is_}, and was {was}"]
    if not a.numel():
        return []
    x, y = a.double(), b.double()
    same = (x == y) | (x.isnan() & y.isnan())
    gaps = torch.where(same, 0.0, (x - y).abs()).nan_to_num(math.inf)
    finite = x[x.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    # a grey level of 8 bits may fall on the other side of a half
    allowed = atol + rtol * scale if a.is_floating_point() else float(a.dtype == torch.uint8)
    worst = float(gaps.max())
    return [f"{where} differs by up to {worst:.3g} of {scale:.3g}"] if worst > allowed else []
