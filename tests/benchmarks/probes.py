"""What it costs that a network of the book is held against what it computes, each time.

    python tests/benchmarks/probes.py

Times the twenty top eigenpairs of two networks with `jacobian.linearize` as it is, and with the
masks taken on trust, in turn, and prints the ratio of the least times. It should be below 1.05.
"""

import time
from unittest import mock

import torch

from gahb_core import jacobian
from gahb_core.data import load_images
from gahb_core.denoisers.contract import Denoiser
from gahb_core.jacobian import products
from gahb_core.jacobian.derivatives import Linearization
from gahb_core.noise import add_noise
from gahb_core.training import load_denoiser

REPEATS = 7


def trust(denoiser: Denoiser, image: torch.Tensor, sigma: float | None) -> Linearization:
    """Return the products by masks, unchecked."""
    net, network_input = products.find_network(denoiser)
    part = products.fix_masks(net, *network_input(image[None], sigma), len(image))
    return Linearization(part.out[0], part.push, part.pull)


def main() -> None:
    """Print the ratio of each network."""
    torch.set_num_threads(1)
    for name, dataset in (("fashion/N=10000/A", "fashion"), ("disks", "disks")):
        f = load_denoiser(name)
        y = add_noise(load_images(dataset, "test", 1, 32), 0.1, 0)
        spent = {"checked": [], "trusted": []}
        for _ in range(REPEATS):
            for kind, seconds in spent.items():
                way = trust if kind == "trusted" else products._by_masks
                with mock.patch.object(products, "_by_masks", way):
                    began = time.process_time()
                    jacobian.top_eigenpairs(f, y, num=20)
                    seconds.append(time.process_time() - began)
        least = {kind: min(seconds) for kind, seconds in spent.items()}
        ratio = least["checked"] / least["trusted"]
        print(f"{name}: {1e3 * least['checked']:.0f} ms checked, ratio {ratio:.3f} to trusted")


if __name__ == "__main__":
    main()
