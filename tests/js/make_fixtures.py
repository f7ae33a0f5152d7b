"""Write fixtures.json: what torch finds, for the tests of the live figures' engine in node.

python tests/js/make_fixtures.py
"""

import base64
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from toys import NOT_LIVE, TOYS, make_toy

from gahb_book.browser import pack_network
from gahb_core import jacobian
from gahb_core.denoisers import empirical_denoiser, residual_denoiser
from gahb_core.metrics import correlation, psnr
from gahb_core.multiscale import conditional_denoiser, haar_level
from gahb_core.networks import BFCNN, UNet, initialize
from gahb_core.sampling import sigma_schedule

FILE = Path(__file__).parent / "fixtures.json"


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return normals of a seed, such as JSON holds without loss."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def numbers(x: Tensor) -> list[float]:
    """Return the elements of a tensor, to seven digits."""
    return [float(f"{v:.7g}") for v in x.detach().double().flatten().tolist()]


def of_network(net: torch.nn.Module, name: str, told: bool = False) -> dict:
    """Return the file of a network, and its estimate and products at one image of 8×8."""
    with torch.no_grad():
        header, content = pack_network(net, name)
    channels = 3 if told else 1
    y, v, u = (draw(1, channels, 8, 8, seed=seed) for seed in (1, 2, 3))
    found = {"header": header, "data": base64.b64encode(content).decode(), "y": numbers(y)}
    f = conditional_denoiser(net) if told else residual_denoiser(net)
    if told:
        low = draw(1, 1, 8, 8, seed=4)
        found["given"] = numbers(low)
        products = jacobian.linearize(lambda z, sigma=None: f(z, condition=low), y)
    else:
        products = jacobian.linearize(lambda z, sigma=None: f(z), y)
    answers = {"x": products.x_hat, "Jv": products.push(v), "Jtu": products.pull(u)}
    return found | {k: numbers(x) for k, x in {"v": v, "u": u, **answers}.items()}


def restless(net: torch.nn.Module) -> torch.nn.Module:
    """Return a network none of whose parts is at its starting value."""
    for i, (key, value) in enumerate(initialize(net, 0).state_dict().items()):
        near_one = key.endswith(("gammas", "running_sd"))
        value.copy_(0.7 + draw(*value.shape, seed=i).abs() if near_one else value)
        if not near_one:
            value.add_(0.1 * draw(*value.shape, seed=i))
    return net.eval()


def make() -> dict:
    """Return all fixtures."""
    networks = {n: of_network(make_toy(n).float(), n) for n in TOYS if n not in NOT_LIVE}
    networks["unet"] = of_network(unet := restless(UNet(2, base=3)), "unet")
    told = {"told, a skip": {"skip": True}, "told, residual": {"residual": True}}
    for name, form in told.items():
        networks[name] = of_network(restless(BFCNN(4, 6, 4, 3, **form)), name, told=True)
    y, images = draw(1, 1, 8, 8, seed=1), draw(4, 1, 8, 8, seed=5)
    J = jacobian.jacobian_matrix(residual_denoiser(unet), y)
    low, details = haar_level(y, 1)
    methods = {
        "lam": numbers(torch.linalg.eigvalsh(jacobian.symmetric_part(J)).flip(0)[:3]),
        "trace": float(J.trace()),
        "schedule": numbers(torch.as_tensor(sigma_schedule())),
        "images": numbers(images),
        "empirical": numbers(empirical_denoiser(images)(y, 2.0)),
        "psnr": float(psnr(images[:1], y)),
        "correlation": float(correlation(images[:1], y)),
        "low": numbers(low),
        "details": numbers(details),
    }
    return {"networks": networks, "methods": methods}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), separators=(",", ":")) + "\n")
