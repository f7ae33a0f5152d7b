"""`check_denoiser`: whether a denoiser of any origin is one, each fault with its cure."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gahb_core.checks import check_finite, check_images, check_number
from gahb_core.denoisers.contract import Denoiser, estimate_sigma
from gahb_core.jacobian.derivatives import adjoint_error, difference_error, signs_like
from gahb_core.jacobian.products import linearize
from gahb_core.noise import add_noise
from gahb_core.probes import LOOSE, check_pure, estimate

DECADE = tuple(10 ** (i / 4) for i in range(-2, 3))  # of the σ given
FACTORS = (1 / 255, 0.25, 0.5, 1.0, 2.0, 4.0, 255.0)  # of the σ told, for one noise
UNIT = (
    "is sigma in the unit of images in [0, 1]? In [−1, 1] it is twice that, in 8 bits 255 times: "
    "adapt(net, range=…, sigma=…)"
)


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        name: of the check.
        verdict: "ok", "note" (worth knowing), "fault", or "not tried", after another fault.
        text: what was seen, and the cure of a fault.
        value: its figure, where it has one.
    """

    name: str
    verdict: str
    text: str
    value: float | None = None


class Report(NamedTuple):
    """All that `check_denoiser` found; its `str` is a table.

    Attributes:
        findings: one a check, in their order.
    """

    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """What must be cured."""
        return tuple(f for f in self.findings if f.verdict == "fault")

    @property
    def ok(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    @property
    def values(self) -> dict[str, float]:
        """The figures, by the name of their check."""
        return {f.name: f.value for f in self.findings if f.value is not None}

    def require(self) -> None:
        """Raise ValueError, with all faults and their cures, where there is one."""
        if not self.ok:
            raise ValueError("\n".join(f"{f.name}: {f.text}" for f in self.faults))

    def __str__(self) -> str:
        wide = max(len(f.name) for f in self.findings)
        lines = [f"{f.verdict:9} {f.name:{wide}}  {f.text}" for f in self.findings]
        return "\n".join(["a denoiser" if self.ok else "not a denoiser yet", *lines])


class _Case(NamedTuple):
    f: Denoiser
    y: Tensor
    sigma: float
    x_hat: Tensor


def check_denoiser(denoiser: Denoiser, y: Tensor, sigma: float) -> Report:
    """Return what is right and wrong with a denoiser f(y, σ), from some fifty calls of it.

    It draws its own noise from fixed seeds and changes nothing.

    >>> print(check_denoiser(lambda y, sigma=None: y.detach(), torch.rand(1, 1, 8, 8), 0.1))
    ... # doctest: +ELLIPSIS +NORMALIZE_WHITESPACE
    not a denoiser yet
    ...
    fault     derivative ... no_grad, inference_mode, .data, .detach() or NumPy within it ...

    Args:
        denoiser: f(y, sigma) → x_hat.
        y: one or more noisy images (B, C, H, W), of images in [0, 1].
        sigma: their noise, in the same units.

    Raises:
        ValueError: where `y` or `sigma` is none that a denoiser can be tried on: of whole numbers,
            in another range, or a σ in another unit.
    """
    sigma = _check_input(y, sigma)
    with torch.no_grad():
        first = _try_call(denoiser, y, sigma)
        if isinstance(first, Finding):
            skipped = (Finding(name, "not tried", "the call comes first") for name in CHECKS)
            return Report((first, *skipped))
        case = _Case(denoiser, y, sigma, first)
        said = f"{tuple(y.shape)}, {y.dtype}, on {y.device}"
        findings = [Finding("call", "ok", said)]
        findings += [_try(name, check, case) for name, check in CHECKS.items()]
    return Report(tuple(findings))


def _check_input(y: Tensor, sigma: float) -> float:
    check_finite(check_images(y, "y"), "y")
    sigma = check_number(sigma, "sigma", above=0)
    low, high, mean = (float(v) for v in (y.min(), y.max(), y.mean()))
    doubt = 4 * sigma / y.numel() ** 0.5
    if mean + doubt < 0:
        raise ValueError(
            f"y must be images in [0, 1] with noise, not of mean {mean:.3g}: of images in [−1, 1] "
            "take (y + 1)/2, and half their sigma"
        )
    if max(high, -low) > 2 + 7 * sigma or mean - doubt > 1:
        raise ValueError(
            f"y must be images in [0, 1] with noise of sigma, not in [{low:.3g}, {high:.3g}]: "
            "divide those of 8 bits by 255, and their sigma"
        )
    if y.numel() > 16 and sigma > 2 * float(y.std()):
        raise ValueError(
            f"sigma must be the noise of y in the same units, not {sigma:.3g} of a y that varies "
            f"by {float(y.std()):.3g}; a sigma of 8 bits is divided by 255"
        )
    return sigma


def _try_call(f: Denoiser, y: Tensor, sigma: float) -> Tensor | Finding:
    """Return f(y, σ), or what is wrong with it: a foreign function may raise anything."""
    try:
        return check_pure(f, y, sigma)
    except ValueError as error:
        return Finding("call", "fault", str(error))
    except Exception as error:
        said = str(error).splitlines() or [""]
        return Finding(
            "call",
            "fault",
            f"denoiser(y, {sigma:g}) with y {tuple(y.shape)}, {y.dtype}, on {y.device} raises "
            f"{type(error).__name__}: {said[0]}; is the network of another size, number of "
            "channels, dtype or device?",
        )


def _try(name: str, check: Callable[[_Case], Finding], case: _Case) -> Finding:
    try:
        return check(case)._replace(name=name)
    except Exception as error:
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return Finding(name, "fault", said)


def _values(case: _Case) -> Finding:
    x = case.x_hat
    if not bool(torch.isfinite(x).all()):
        return Finding("", "fault", "x_hat must be finite, and holds inf or nan")
    low, high = float(x.min()), float(x.max())
    outside = float(((x < -0.25) | (x > 1.25)).float().mean())
    said = f"x_hat lies in [{low:.3g}, {high:.3g}]"
    if outside > 0.05:
        cure = "is it in the range of the images? (x_hat + 1)/2 of one in [−1, 1], /255 of 8 bits"
        return Finding("", "fault", f"{said}, {outside:.0%} of it far outside [0, 1]: {cure}")
    for edge in (0.0, 1.0):
        stuck = float((x == edge).float().mean())
        if stuck > 0.01:
            said += f"; {stuck:.0%} of it is {edge:g}: if it is clipped there, J is 0"
            return Finding("", "note", said, stuck)
    return Finding("", "ok", said)


def _images(case: _Case) -> Finding:
    """Compare the first image's estimate beside other images."""
    y = case.y[:1]
    beside = [torch.cat([y, other]) for other in ((1 - y).flip(-1), y.roll(1, -1) / 2)]
    a, b = (estimate(case.f, pair, case.sigma)[0] for pair in beside)
    size = float(a.norm()) + torch.finfo(y.dtype).tiny
    gap = float((a - b).norm()) / size
    alone = float((a - estimate(case.f, y, case.sigma)[0]).norm()) / size
    if gap > LOOSE * torch.finfo(y.dtype).eps or alone > 1e-2:
        cure = "a norm over the batch? net.eval(), or statistics of its own for each image"
        said = f"one image's estimate changes with those beside it, by {max(gap, alone):.2g}"
        return Finding("", "fault", f"{said}: {cure}", max(gap, alone))
    return Finding("", "ok", "each image's estimate depends on that image alone", max(gap, alone))


def _told(case: _Case) -> Finding:
    """Compare the answers to a number, to one σ an image, and to another σ."""
    y, num = case.y, len(case.y)
    many = estimate(case.f, y, torch.full((num,), case.sigma, dtype=y.dtype, device=y.device))
    gap = float((many - case.x_hat).norm() / case.x_hat.norm().clamp(min=1e-30))
    if gap > 1e-3:
        said = f"σ as a number and as (B,) give two answers, {gap:.2g} apart: take both"
        return Finding("", "fault", said, gap)
    blind = torch.equal(estimate(case.f, y, 2 * case.sigma), estimate(case.f, y, case.sigma))
    return Finding("", "ok", "blind: σ is ignored" if blind else "told σ, a number or (B,)")


def _levels(case: _Case) -> Iterator[tuple[float, Tensor]]:
    """Yield σ over a decade, and images with such noise: y with more, or x̂ with less of it."""
    for factor in DECADE:
        level, more = factor * case.sigma, (max(factor**2 - 1, 0.0)) ** 0.5 * case.sigma
        yield level, add_noise(case.x_hat, level, 1) if factor < 1 else add_noise(case.y, more, 1)


def _noise_removed(case: _Case) -> Finding:
    """Compare σ̂ = ‖y − f(y)‖/√D with σ: just below it, at each of a decade."""
    ratios = [float(estimate_sigma(y, estimate(case.f, y, s)).mean()) / s for s, y in _levels(case)]
    said = "σ̂/σ = " + ", ".join(f"{r:.2f}" for r in ratios) + f" at σ = {case.sigma:.3g}·10^±½"
    wrong = max(ratios) > 1.15 or min(ratios[2:]) < 0.4
    return Finding("", "fault" if wrong else "ok", f"{said}: {UNIT}" if wrong else said, ratios[2])


def _unit(case: _Case) -> Finding:
    """Compare the errors at one noise where σ is told as it is, and as other multiples of it.

    Of y with noise σ and z of the same size, y + z and y − z have independent noise of √2 σ:
    E‖f(y + z) − (y − z)‖² is the error of f there, and a constant (Pang et al. 2021).
    """
    z = add_noise(torch.zeros_like(case.y), case.sigma, 2)
    noisy, other, level = case.y + z, case.y - z, 2**0.5 * case.sigma
    found = {k: estimate(case.f, noisy, k * level) for k in FACTORS}
    errors = {k: float((x - other).square().mean()) / level**2 for k, x in found.items()}
    best = min(errors, key=errors.__getitem__)
    doubt = 2 * float((found[best] - found[1.0]).norm()) / (level * case.y.numel())
    excess = errors[1.0] - errors[best]
    if excess > 0.25 + 3 * doubt:
        said = f"told {best:.2g} σ it errs less than told σ, by {excess:.2g} σ² a pixel"
        return Finding("", "fault", f"{said}: {UNIT}", best)
    return Finding("", "ok", "told σ it errs least, or nearly", best)


def _brightness(case: _Case) -> Finding:
    """Compare mean brightness before and after, where the noise leaves no doubt of it."""
    shifts = []
    for s, y in list(_levels(case))[2:]:
        shift = (estimate(case.f, y, s) - y).flatten(1).mean(1).abs().max()
        shifts.append(float(shift) - 4 * s / y[0].numel() ** 0.5)
    worst = max(shifts)
    if worst > 0.15:
        cure = "are its images in [−1, 1]? adapt(net, range=(−1, 1))"
        said = f"images become brighter or darker by {worst:.2g}: {cure}"
        return Finding("", "fault", said, worst)
    return Finding("", "ok", "kept", max(worst, 0.0))


def _products(case: _Case) -> tuple:
    y = case.y[:1]
    products = linearize(case.f, y, case.sigma, block=1)
    u, v = (signs_like(y[0], key) for key in "uv")
    return products, u, v, products.push(v[None])[0], products.pull(u[None])[0]


def _derivative(case: _Case) -> Finding:
    products, _, v, Jv, _ = _products(case)
    gap = difference_error(case.f, case.y[0], case.sigma, v, Jv, near=1e-3)
    if not float(Jv.norm()) > 1e-6 * float(v.norm()):
        return Finding("", "note", "J is 0 here: is x_hat clipped, or constant?", gap)
    return Finding("", "ok", f"J v is {gap:.1g} from differences, by {products.way}", gap)


def _adjoint(case: _Case) -> Finding:
    error = adjoint_error(*_products(case)[1:])
    return Finding("", "ok", f"⟨u, Jv⟩ is ⟨Jᵀu, v⟩ to {error:.1g}", error)


def _linear(case: _Case) -> Finding:
    products = linearize(case.f, case.y[:1], case.sigma, block=1)
    x_hat = products.x_hat
    if not float(x_hat.norm()) > 0:
        return Finding("", "note", "x_hat is 0")
    gap = float((products.push(case.y[:1])[0] - x_hat).norm() / x_hat.norm())
    if gap < 1e-3:
        return Finding("", "ok", f"J y is x_hat to {gap:.1g}: rows of J are filters", gap)
    said = f"‖J y − x_hat‖/‖x_hat‖ = {gap:.2g}: it has biases, or bends; rows of J are not all of x"
    return Finding("", "note", said, gap)


CHECKS: dict[str, Callable[[_Case], Finding]] = {
    "values": _values, "independence": _images, "sigma": _told, "derivative": _derivative,
    "adjoint": _adjoint, "noise removed": _noise_removed, "unit of sigma": _unit,
    "brightness": _brightness, "linearity": _linear,
}  # fmt: skip
