"""The fingerprint of arguments: of tensors and networks by what they hold, not by what they are."""

import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from gahb_book.kept.code import is_of_library

PLAIN = (type(None), bool, int, float, complex, str, bytes)
# network → where its weights are and how often they were written to, and their hash
_weights: WeakKeyDictionary[nn.Module, tuple[Any, str]] = WeakKeyDictionary()
DEEP = 60  # levels of what stands in what: more is something that holds itself


class Fingerprint(NamedTuple):
    """What arguments are: SHA-256 in hex, and the modules of the library whose things they are."""

    digest: str
    modules: frozenset[str]


class _Hasher:
    """Takes values, and counts the library's modules that define what they are."""

    def __init__(self, where: str) -> None:
        self.digest, self.modules, self.where = hashlib.sha256(), set[str](), where
        self.depth = 0

    def put(self, *words: object) -> None:
        """Take words whose `repr` says all."""
        self.digest.update((repr(words) + "\n").encode())

    def kind(self, thing: Any) -> None:
        """Take the name of a class or a function, and count its module."""
        self.put(thing.__module__, thing.__qualname__)
        if is_of_library(thing.__module__):
            self.modules.add(thing.__module__)

    def take(self, value: Any) -> None:
        """Take a value of any kind that is known.

        Raises:
            ValueError: for another kind.
        """
        self.depth += 1
        if self.depth > DEEP:
            raise ValueError(f"{self.where} must not hold itself")
        if isinstance(value, float):
            self.put("float", f"{value:.12g}")  # a power may end otherwise on another machine
        elif isinstance(value, (*PLAIN, torch.dtype, torch.device, range)):
            self.put(type(value).__name__, value)
        elif isinstance(value, np.generic | np.ndarray):
            self.tensor(torch.from_numpy(np.ascontiguousarray(value)), "array")
        elif isinstance(value, Tensor):
            self.tensor(value, value.device.type)
        elif isinstance(value, nn.Module):
            self.network(value)
        elif isinstance(value, Mapping):
            self.kind(type(value))
            self.put("mapping", len(value))
            for key, item in value.items():
                self.take(key)
                self.take(item)
        elif isinstance(value, list | tuple):
            self.kind(type(value))
            self.put("sequence", len(value))
            for item in value:
                self.take(item)
        elif isinstance(value, set | frozenset):
            self.put("set", sorted(map(repr, value)))
        else:
            self.thing(value)
        self.depth -= 1

    def tensor(self, x: Tensor, kind: str) -> None:
        """Take a tensor: dtype, shape, kind of device and content."""
        if x.layout != torch.strided:
            raise ValueError(f"{self.where} must be a dense tensor, not {x.layout}")
        self.put("tensor", kind, x.dtype, tuple(x.shape))
        x = x.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        x = torch.view_as_real(x).reshape(-1) if x.is_complex() else x
        self.digest.update(x.view(torch.uint8).numpy().data if x.numel() else b"")

    def network(self, net: nn.Module) -> None:
        """Take a network: its classes, their plain settings, its weights and buffers."""
        for name, part in net.named_modules():
            self.kind(type(part))
            plain = {
                k: v for k, v in vars(part).items()
                if not k.startswith("_") and isinstance(v, (*PLAIN, tuple))
            }  # fmt: skip
            self.put(name, sorted(plain.items(), key=str))
        weights = (*net.named_parameters(), *net.named_buffers())
        at = tuple((name, x.data_ptr(), x._version) for name, x in weights)
        if _weights.get(net, ("", ""))[0] != at:  # else nothing was written to them since
            inner = _Hasher(self.where)
            for name, x in weights:
                inner.put(name)
                inner.tensor(x, x.device.type)
            _weights[net] = (at, inner.digest.hexdigest())
        self.put(_weights[net][1])

    def thing(self, value: Any) -> None:
        """Take a function or an object of the library, with what it holds."""
        if (kept := getattr(value, "__kept__", None)) is not None:
            raise ValueError(
                f"{self.where} must not be the kept function {kept.__name__}: call it by its name"
            )
        if isinstance(value, functools.partial):
            self.put("partial")
            self.take([value.func, value.args, value.keywords])
        elif isinstance(value, MethodType):
            self.put("method", value.__name__)
            self.take(value.__self__)
        elif isinstance(value, type):
            self._known(value)
            self.kind(value)
        elif isinstance(value, ModuleType):
            self.put("module", value.__name__)
            if is_of_library(value.__name__):
                self.modules.add(value.__name__)
        elif callable(value) and hasattr(value, "__qualname__"):
            self.function(inspect.unwrap(value))
        elif is_of_library(type(value).__module__):
            self.kind(type(value))
            self.take(_held(value))
        elif isinstance(value, PurePath):
            raise ValueError(f"{self.where} must not be a path: pass what the file holds")
        else:
            self._refuse(value)

    def function(self, value: Any) -> None:
        """Take a function: which one it is, what it closes over, and its defaults."""
        self._known(value)
        self.kind(value)
        if isinstance(value, FunctionType):
            self.put(value.__code__.co_code, value.__code__.co_names)
            self.take([cell.cell_contents for cell in value.__closure__ or ()])
            self.take([value.__defaults__, value.__kwdefaults__])

    def _known(self, value: Any) -> None:
        if value.__module__ in (None, "__main__"):
            self._refuse(value)

    def _refuse(self, value: Any) -> None:
        name = getattr(value, "__qualname__", None) or f"of type {type(value).__qualname__}"
        raise ValueError(
            f"{self.where} must be made of tensors, numbers, text, lists, dicts, networks and "
            f"functions of the library, and it is {name}: pass what it is made from"
        )


def _held(value: Any) -> dict[str, Any]:
    """Return what an object holds; what its class makes on demand, and then keeps, is left out."""
    names = list(getattr(value, "__dict__", ()))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    made = {
        name
        for kind in type(value).__mro__
        for name, held in vars(kind).items()
        if isinstance(held, functools.cached_property)
    }
    return {n: getattr(value, n) for n in names if n not in made and hasattr(value, n)}


def fingerprint(function: Callable, args: tuple, kwargs: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint of a call's arguments, however they are given, with the defaults.

    Raises:
        TypeError: where they do not fit.
        ValueError: for an argument of a kind that is not known, naming it.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    hasher = _Hasher("")
    for name, value in sorted(bound.arguments.items()):
        hasher.where = f"argument {name} of {function.__name__}"
        hasher.put(name)
        hasher.take(value)
    return Fingerprint(hasher.digest.hexdigest(), frozenset(hasher.modules))
