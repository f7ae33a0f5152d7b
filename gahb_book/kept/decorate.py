"""The decorator `keep`, and what it does when a function is called."""

import contextlib
import functools
import hashlib
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gahb_book.kept import foot
from gahb_book.kept.arguments import fingerprint
from gahb_book.kept.code import Code, find_code
from gahb_book.kept.store import Card, Damaged, check_size, slot_of, stores
from gahb_book.kept.uses import Use, is_fresh, note, running_page
from gahb_book.kept.values import Packed, differences, pack, unpack

_depth = [0]  # kept functions that are running


class Kept(NamedTuple):
    """How a function is kept: see `keep`."""

    bits: int
    rtol: float
    atol: float
    compare: Callable[[Any], Any]


@functools.cache
def _machine() -> tuple[str, float]:
    """Return the processor's name, and its rate of products of matrices, in 10⁹ a second."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    a, best = torch.ones(512, 512), float("inf")
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return (names or [platform.processor() or platform.machine()])[0], round(2 * 0.512**3 / best, 1)


def _find(slot: str, code: str) -> tuple[Card, Packed] | None:
    """Return what is kept of this code, where it is whole; what is damaged is said."""
    for store in dict.fromkeys(stores()):
        try:
            card = store.read_card(slot)
            if card and card.code == code:
                return card, store.read(card)
        except Damaged as error:
            warnings.warn(f"{error}: it is computed anew", stacklevel=4)
    return None


def _compute(
    function: Callable, args: tuple, kwargs: dict, how: Kept, code: Code, arguments: str
) -> tuple[Card, Packed]:
    began = time.process_time()
    value = _run(function, args, kwargs)
    seconds = time.process_time() - began
    packed = check_size(pack(value, how.bits), function.__name__)
    machine, rate = _machine()
    card = Card(
        function=function.__name__, arguments=arguments, code=code.digest,
        page=running_page(), seconds=round(seconds, 2), machine=machine, rate=rate,
        torch=torch.__version__, bits=how.bits, functions=list(code.functions),
        modules=list(code.modules), tree=packed.tree,
        arrays=hashlib.sha256(packed.arrays).hexdigest() if packed.arrays else "",
    )  # fmt: skip
    return card, packed


def _write(card: Card, packed: Packed) -> None:
    try:
        stores()[1].write(card, packed)
    except OSError as error:  # a full disk, or one to read alone: the value is there all the same
        warnings.warn(f"the value of {card.function} is not kept: {error}", stacklevel=4)


def _run(function: Callable, args: tuple, kwargs: dict) -> Any:
    """Return the value of a function; what it calls of kept ones is computed with it."""
    _depth[0] += 1
    try:
        return function(*args, **kwargs)
    finally:
        _depth[0] -= 1


def _call(function: Callable, args: tuple, kwargs: dict, how: Kept) -> Any:
    given = fingerprint(function, args, kwargs)
    code = find_code(function, given.modules)
    arguments = hashlib.sha256(f"{given.digest} {how.bits}".encode()).hexdigest()
    slot = slot_of(function.__name__, arguments)
    found = _find(slot, code.digest)
    before = None if found is None else unpack(found[1])
    if found is not None and not is_fresh(slot):
        note(Use(slot, "kept", found[0].seconds, []))
        foot.watch(function.__name__, kept=True)
        return before
    card, packed = _compute(function, args, kwargs, how, code, arguments)
    value, differs = unpack(packed), list[str]()
    if found is None:
        _write(card, packed)
    else:
        was, is_ = how.compare(before), how.compare(value)
        differs = differences(was, is_, rtol=how.rtol, atol=how.atol)[:5]
    note(Use(slot, "computed", card.seconds, differs))
    foot.watch(function.__name__, kept=False)
    return value


def keep(
    function: Callable | None = None,
    *,
    bits: int = 32,
    rtol: float = 0.01,
    atol: float = 1e-6,
    compare: Callable[[Any], Any] = lambda value: value,
) -> Callable:
    """Return a function of a notebook whose values are computed once, and kept.

    A value is read from `book/kept/`, or from what was kept on this machine, if neither the
    arguments nor the function's source nor a module of the library that it uses has changed;
    otherwise it is computed, and kept on this machine. `gahb kept --write` moves it to the book.
    What comes back is always what is kept of a value: tensors without gradients.

    The function may use nothing of the notebook but its arguments, modules and other kept
    functions. It must be a pure function of them: a draw takes a seed. What it prints, shows or
    records would be lost, and files and networks that it loads would not be seen: it is refused.

    Arguments count by their bits. Those that are the same on every machine, such as images, weights
    and seeds, find the value there too. Noise is not (its last bits are the processor's), nor is
    what a factorization or a transform made: make it within, or by another kept function.

    joblib.Memory, which does the like, keeps pickles, and those cannot ship: they run what they
    hold. It also knows nothing of the library's modules that a function uses.

    Args:
        function: of arguments that are tensors, networks, numbers, text, functions and objects of
            the library, or lists and dicts of them; its value is of tensors, numbers, text, lists,
            dicts and NamedTuples of the library, at most 500 kB.
        bits: 8: keep floating point pictures (…, H, W) as 256 levels between their extremes; 16: in
            half precision; 32: keep all as they are.
        rtol: how much of its largest number a tensor may differ, when it is computed anew.
        atol: beside it.
        compare: what of a value has to be the same when it is computed anew, by default all of it;
            of the weights of a training, which roundings lead elsewhere, what they are good for.

    Raises:
        ValueError: when it is called and uses something of the notebook, for arguments or values
            of other kinds, or a value too large.

    >>> @keep
    ... def draw_noise(num, seed):
    ...     return noise.sample_normal((num,), seed)  # doctest: +SKIP
    """
    if function is None:
        return functools.partial(keep, bits=bits, rtol=rtol, atol=atol, compare=compare)
    how = Kept(bits, rtol, atol, compare)

    @functools.wraps(function)
    def kept(*args: Any, **kwargs: Any) -> Any:
        if _depth[0]:  # within another, whose value is kept
            return function(*args, **kwargs)
        return _call(function, args, kwargs, how)

    kept.__kept__ = function  # type: ignore[attr-defined]
    return kept
