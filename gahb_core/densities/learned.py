"""Energies that are learned: one of the radius alone, and one on a UNet."""

import torch
from torch import Generator, Tensor, nn

from gahb_core.checks import check_count, check_floating
from gahb_core.networks.models import UNet
from gahb_core.noise import broadcast_sigma, flatten_images

BRIGHTNESS = 0.5  # of the constant channel: that of a pixel, which is in [0, 1]


class RadialEnergy(nn.Module):
    """U(y, σ) = −log Σ_k exp(−(a_k r² + b_k)), r = ‖y‖, with a_k(t) and b_k(t) of a small network.

    A mixture of K round Gaussians at the origin has this form, a_k = 1/(2(s_k² + t)) and b_k =
    (D/2) log(s_k² + t) − log w_k. The network (GELU) sees log(t + .01); what it gives bends the a
    and b of Gaussians of deviations 1, 2, 4 …: components that begin alike may stay alike.

    Args:
        size: D.
        num: K.
        width, depth: of the hidden layers.
    """

    def __init__(self, size: int, num: int = 2, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.size, self.num = check_count(size, "size"), check_count(num, "num")
        width, depth = check_count(width, "width"), check_count(depth, "depth")
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [nn.Linear(width if i else 1, width), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2 * self.num))

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b, (B, K) each, at t (B,)."""
        out = self.layers(torch.log(t + 0.01)[:, None] / 3)
        log_a, b = out[:, : self.num], out[:, self.num :]
        variance = 4.0 ** torch.arange(self.num, dtype=t.dtype, device=t.device) + t[:, None]
        return log_a.exp() / (2 * variance), self.size * (b + 0.5 * variance.log())

    def of_radius(self, squared_radius: Tensor, t: Tensor) -> Tensor:
        """Return U, (B,), at ‖y‖² (B,) and t (B,)."""
        a, b = self.coefficients(t)
        return -torch.logsumexp(-(a * squared_radius[:, None] + b), 1)

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return U, (B,), of y (B, ...) of D elements."""
        t = broadcast_sigma(sigma, y).reshape(-1).expand(len(y)) ** 2
        return self.of_radius(flatten_images(y).square().sum(1), t)


class EnergyNet(nn.Module):
    """U(y, σ) = r² ⟨u, s(u, σ/r, m/r)⟩ / (2σ²) + (D/2) log r², u = y/r, r² = σ² + m², s a UNet.

    By Euler's theorem ½⟨y, s(y)⟩ is the energy whose gradient is s where s is homogeneous and its
    Jacobian symmetric: what a bias-free network needs to be one. Here s is smooth (GELU), as the
    loss differentiates its slope and that of a ReLU jumps; so it is not homogeneous, and of the
    argument only the form is left, in units of r. With σ as its only constant U
    would be a function of y/σ, plus one of σ. Such an energy gives every image the same time score
    but for ⟨y, ∇U⟩: it cannot know that images differ in dimension, and no density that can be
    normalised is of this form, as ∫p = 1 sets a scale. So the network has a third channel, the
    constant brightness m = ½: a bias, at its entrance alone.

    Args:
        channels: widths of the UNet, from full resolution down.
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        ends = {"channels_in": 3, "channels_out": 1}
        self.net = UNet(len(channels) - 1, channels=channels, **ends, smooth=True)

    def draw(self, generator: Generator, gain: float) -> None:
        """Draw the weights anew, in place."""
        self.net.draw(generator, gain)

    def count_operations(self, size: int) -> int:
        """Return the operations of the UNet for one image, two a product, without norms."""
        return self.net.count_operations(size)

    def forward(self, y: Tensor, sigma: float | Tensor) -> Tensor:
        """Return U, (B,), of images y (B, 1, H, W)."""
        check_floating(y, "y")
        level = broadcast_sigma(sigma, y).expand(len(y), 1, 1, 1)
        scale = (level**2 + BRIGHTNESS**2).sqrt()
        plane, unit = torch.ones_like(y) / scale, y / scale
        s = self.net(torch.cat([unit, plane * level, plane * BRIGHTNESS], 1))
        inner = flatten_images(unit * s).sum(1) * (scale / level).reshape(-1) ** 2
        return 0.5 * inner + y[0].numel() * torch.log(scale.reshape(-1))
