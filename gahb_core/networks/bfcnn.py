"""The bias-free CNN, whose receptive field is chosen."""

from collections.abc import Sequence

from torch import Tensor, nn

from gahb_core.checks import check_count
from gahb_core.networks.layers import BiasFreeNorm, check_input, conv_norm, make_conv


class BFCNN(nn.Module):
    """Bias-free DnCNN: a linear convolution, then (conv, norm, ReLU) × (L − 2), then a convolution.

    With `num_layers` = 21 and 64 channels it has 702,784 parameters and a 43×43 receptive field.

    Args:
        num_layers: all convolutions, at least 2.
        num_channels: width of the hidden layers.
        channels_in, channels_out: 1 and 1 for images; 4 and 3 for the conditional network of
            details given the low band (paper (b)).
        spatial_layers: which hidden layers (1 … L−2) are 3×3; the others are 1×1. None: all.
        first_relu: a ReLU after the first convolution too, as in the authors' networks of 2021.
        skip: the convolutions give x̂, and the network y − x̂ (y: the last `channels_out` of the
            channels in). Details are small: at most levels of σ nearly all of y is noise, and a
            stack of layers that must copy y to its noise copies it badly.
    """

    def __init__(
        self,
        num_layers: int = 21,
        num_channels: int = 64,
        channels_in: int = 1,
        channels_out: int = 1,
        spatial_layers: Sequence[int] | None = None,
        skip: bool = False,
        first_relu: bool = False,
    ) -> None:
        super().__init__()
        self.skip, self.first_relu = skip, first_relu
        num_layers = check_count(num_layers, "num_layers", 2)
        ends = {"channels_in": channels_in, "channels_out": channels_out}
        for name, number in {"num_channels": num_channels, **ends}.items():
            check_count(number, name)
        hidden = range(1, num_layers - 1)
        spatial = set(hidden if spatial_layers is None else spatial_layers)
        if not spatial <= set(hidden):
            raise ValueError(
                f"spatial_layers must lie in 1 … num_layers − 2 (num_layers = {num_layers}), "
                f"not {sorted(spatial)}"
            )
        self.conv_layers = nn.ModuleList([make_conv(channels_in, num_channels)])
        self.BN_layers = nn.ModuleList()
        for i in hidden:
            self.conv_layers.append(make_conv(num_channels, num_channels, 3 if i in spatial else 1))
            self.BN_layers.append(BiasFreeNorm(num_channels))
        self.conv_layers.append(make_conv(num_channels, channels_out))

    def forward(self, y: Tensor) -> Tensor:
        """Return the estimated noise, (B, channels_out, H, W)."""
        check_input(y, self.conv_layers[0].weight)
        h = self.conv_layers[0](y)
        h = h.relu_() if self.first_relu else h
        for conv, norm in zip(self.conv_layers[1:-1], self.BN_layers, strict=True):
            h = conv_norm(conv, norm, h).relu_()
        h = self.conv_layers[-1](h)
        return y[:, -h.shape[1] :] - h if self.skip else h


# paper (b): which hidden layers of the 21 are 3×3 for each receptive field
SPATIAL_LAYERS: dict[int, tuple[int, ...]] = {
    5: (),
    9: (8, 16),
    13: (4, 8, 12, 16),
    23: tuple(range(2, 20, 2)),
    43: tuple(range(1, 20)),
}
