"""Networks: bias-free UNet and BF-CNN, which map a noisy image to its estimated noise.

No layer adds a constant, and all are homogeneous of degree one in evaluation mode: net(a y) =
a net(y) for a > 0, and net(y) is linear in y given the signs of its ReLUs. Source: Mohan,
Kadkhodaie, Simoncelli & Fernandez-Granda, ICLR 2020.
"""

from gahb_core.networks.bfcnn import BFCNN, SPATIAL_LAYERS
from gahb_core.networks.layers import EPS, BiasFreeNorm
from gahb_core.networks.unet import UNet
from gahb_core.networks.weights import (
    fill,
    fold_norm,
    initialize,
    num_parameters,
    receptive_field,
)

__all__ = [
    "BFCNN",
    "EPS",
    "SPATIAL_LAYERS",
    "BiasFreeNorm",
    "UNet",
    "fill",
    "fold_norm",
    "initialize",
    "num_parameters",
    "receptive_field",
]
