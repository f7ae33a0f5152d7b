"""Train the foreign networks of the page "Your own network" on garments, by their own recipes.

    python book/experiments/foreign_networks.py unet      1,200 steps, 3 minutes of a quick core
    python book/experiments/foreign_networks.py dncnn     1,000 steps, 1 minute

`unet` is DDPM's: images in [−1, 1], a whole time t uniform in 0 … 999 of the linear schedule, the
mean squared error of ε. `dncnn` is DnCNN-B's: images in [0, 1], σ uniform up to 55/255, the mean
squared error. Adam, a warm-up, and down to zero at last. Both see the 10,000 garments of
`fashion/N=10000/A`. Killed, a run goes on from its last hundred steps. Each writes its
weights, in half precision, and a card to book/checkpoints/foreign/.

What we expect, written before either was trained: at σ = 0.1 both have a trace within a quarter of
the trace of chapter 5's network; J is less symmetric, most of all DnCNN's; f(y) is no longer J y,
for there are biases: the gap exceeds 0.05 for both, where chapter 5's network has rounding; DnCNN
fails above σ = 0.22, on which it was never trained, and bias-free networks do not.
"""

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from gahb_core.data import load_images
from gahb_core.files import atomic_write
from gahb_core.foreign import DiffusersUNet, DnCNN, LinearSchedule
from gahb_core.noise import make_generator

ROOT = Path(__file__).parents[2]
OUT, STATE = ROOT / "book" / "checkpoints" / "foreign", ROOT / "_build" / "foreign"
BATCH, SEED = 16, 0
RECIPES: dict[str, dict] = {
    "unet": {
        "network": "DiffusersUNet",
        "options": {"channels": [16, 32, 64], "num_layers": 1, "attention": [2], "head_width": 8},
        "steps": 1200,
        "rate": 1.5e-3,
    },
    "dncnn": {
        "network": "DnCNN",
        "options": {"depth": 17, "width": 16},
        "steps": 1000,
        "rate": 1e-3,
    },
}
NETWORKS = {"DiffusersUNet": DiffusersUNet, "DnCNN": DnCNN}


def noise_loss(net: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """Return DDPM's loss: ε of z = √ᾱ x + √(1 − ᾱ) ε, x in [−1, 1], at a time drawn for each."""
    abar = LinearSchedule().alphas_cumprod
    t = torch.randint(len(abar), (len(x),), generator=generator)
    eps = torch.randn(x.shape, generator=generator)
    a = abar[t][:, None, None, None]
    return (net(a.sqrt() * (2 * x - 1) + (1 - a).sqrt() * eps, t).sample - eps).square().mean()


def denoising_loss(net: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """Return DnCNN's loss: x of y = x + σz, σ uniform up to 55/255."""
    sigma = 55 / 255 * torch.rand(len(x), 1, 1, 1, generator=generator)
    return (net(x + sigma * torch.randn(x.shape, generator=generator)) - x).square().mean()


LOSSES: dict[str, Callable] = {"unet": noise_loss, "dncnn": denoising_loss}


def rate_at(step: int, steps: int) -> float:
    """Return the share of the highest rate: a warm-up, a slow cosine, and down to zero at last."""
    slow = 0.5 * (1 + math.cos(math.pi * step / 4000))
    return min(1.0, (step + 1) / 200) * slow * min(1.0, (steps - step) / 600)


def train(name: str) -> tuple[nn.Module, list]:
    """Return the trained network and its curve of (step, loss, seconds)."""
    recipe, state = RECIPES[name], STATE / f"{name}.pt"
    torch.manual_seed(SEED)
    net = NETWORKS[recipe["network"]](**recipe["options"]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe["rate"])
    step, curve, before, total = 0, [], 0.0, 0.0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        net.load_state_dict(kept["net"])
        optimizer.load_state_dict(kept["optimizer"])
        step, curve = kept["step"], kept["curve"]
        before = curve[-1][2]
    images, began = load_images("fashion", "A", 10_000), time.monotonic()
    while step < recipe["steps"]:
        generator = make_generator(SEED, name, step)
        x = images[torch.randint(len(images), (BATCH,), generator=generator)]
        loss = LOSSES[name](net, x.contiguous(memory_format=torch.channels_last), generator)
        for group in optimizer.param_groups:
            group["lr"] = recipe["rate"] * rate_at(step, recipe["steps"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total, step = total + float(loss.detach()), step + 1
        if step % 100 == 0:
            curve.append([step, round(total / 100, 6), round(before + time.monotonic() - began, 1)])
            print(*curve[-1], flush=True)
            total = 0.0
        if step % 100 == 0:
            STATE.mkdir(parents=True, exist_ok=True)
            with atomic_write(state) as part:
                content = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(content | {"step": step, "curve": curve}, part)
    return net.eval(), curve


def save(name: str, net: nn.Module, curve: list) -> None:
    """Write the weights, in half precision, and their card."""
    half = {k: v.half().contiguous() for k, v in net.state_dict().items() if v.is_floating_point()}
    content = safetensors.torch.save(half)
    images = load_images("fashion", "A", 10_000)
    card = {
        "name": f"foreign/{name}",
        "recipe": RECIPES[name] | {"batch": BATCH, "seed": SEED, "loss": LOSSES[name].__name__},
        "data": {
            "dataset": "fashion",
            "split": "A",
            "num": len(images),
            "images_sha256": hashlib.sha256(images.numpy().tobytes()).hexdigest(),
        },
        "training": {"images": curve[-1][0] * BATCH, "seconds": curve[-1][2], "curve": curve},
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        "torch": torch.__version__,
    }
    OUT.mkdir(parents=True, exist_ok=True)
    with atomic_write(OUT / f"{name}.safetensors") as part:
        part.write_bytes(content)
    with atomic_write(OUT / f"{name}.card.json") as part:
        part.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Train what is asked for."""
    for name in sys.argv[1:]:
        save(name, *train(name))


if __name__ == "__main__":
    main()
