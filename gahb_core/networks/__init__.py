"""Networks: UNet, BF-CNN and a transformer, which map a noisy image to its estimated noise.

All are homogeneous of degree one in evaluation mode: net(a y) = a net(y) for a > 0. The
convolutional ones add no constant anywhere, and net(y) is linear in y given the signs of their
ReLUs. Source: Mohan, Kadkhodaie, Simoncelli & Fernandez-Granda, ICLR 2020.
"""

from gahb_core.networks.layered import Layered
from gahb_core.networks.layers import ADD, CAT, POOL, PUSH, RELU, SUBTRACT
from gahb_core.networks.models import (
    BFCNN,
    SPATIAL_LAYERS,
    UNet,
    fold_norm,
    num_parameters,
    receptive_field,
)
from gahb_core.networks.norm import EPS, BiasFreeNorm
from gahb_core.networks.transformer import Block, Transformer
from gahb_core.networks.weights import initialize, load_weights
