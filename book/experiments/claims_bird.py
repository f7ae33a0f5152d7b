"""Do local machines draw what a network draws early in its training? claims_bird.json.

    python book/experiments/claims_bird.py FOLDER      (ten minutes of one core; it resumes)

Trains the UNet of garments at 16×16 pixels, where local machines are cheap, on 10,000 images, and
keeps its network at steps 2^k in FOLDER. From the same noise each kept network draws a sample, and
so do the equivariant local machine (ELS, 1,000 images; the patch sizes that chapter 12 calibrated
on the finished BF-CNN of these images), the Gaussian with the mean and the covariance of the
training images, the memorizer, and the mean image. Written: r of each with each kept network, a
number a seed. FOLDER takes the samples of the machines, too; what is there is not made again.
`claims_selective.py` measures the same networks, `claims_planted.py` the last of them.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from local_theories import SETS, Machines, draw
from torch import Tensor, nn

from gahb_book.measured import FOLDER, measure_missing, read
from gahb_core import metrics, sampling
from gahb_core.data import open_images
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.files import write_safely
from gahb_core.networks.models import fold_norm
from gahb_core.networks.weights import load_weights
from gahb_core.training import estimate_norms, find_recipe, fit, make_network

OUT = FOLDER / "claims_bird.json"
RECIPE = replace(find_recipe("fashion/N=10000/A"), name="claims", size=16, num_steps=4096)
STEPS = tuple(2**k for k in range(13))
NUM, BATCH, SHOWN = 20, 5, 3


def keep(net: nn.Module, path: Path) -> None:
    """Write the weights of a network in training, its norms estimated anew."""
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    images = open_images(RECIPE.dataset, RECIPE.split, RECIPE.num, RECIPE.size)
    estimate_norms(net, RECIPE, images)
    state = {k: v.contiguous() for k, v in net.state_dict().items()}
    write_safely(path, safetensors.torch.save(state))


def train(folder: Path) -> list[Path]:
    """Return the kept states of the training, made on from what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{step}.safetensors" for step in STEPS]
    if all(path.exists() for path in paths):
        return paths
    for progress in fit(RECIPE, folder / "state.pt", save_seconds=20, also=STEPS):
        path = folder / f"{progress.step}.safetensors"
        if progress.step in STEPS and not path.exists():
            keep(progress.net, path)
            print(progress.step, round(progress.seconds), flush=True)
    return paths


def kept_network(path: Path) -> Callable:
    """Return the denoiser of a kept state."""
    net = load_weights(make_network(RECIPE), safetensors.torch.load(path.read_bytes()), path)
    return residual_denoiser(fold_norm(net.eval().requires_grad_(False)))


def draw_theories(machines: Machines, folder: Path) -> dict[str, Tensor]:
    """Return samples of each machine (NUM, 1, S, S), drawn on from those of the folder."""
    path = folder / "theories.pt"
    patch = read(FOLDER / "local_theories.json")["fashion_16"]["patch"]
    rules: dict[str, Callable] = {
        "els": machines.by_level("els", patch["sigmas"], patch["best"])
    } | {"gaussian": machines.linear, "ideal": machines.ideal}
    found = torch.load(path, weights_only=True) if path.exists() else {}
    for start in range(0, NUM, BATCH):
        for name, rule in rules.items():
            have = found.get(name, torch.empty(0, *machines.train.shape[1:]))
            if len(have) == start:
                new = sampling.finish(draw(machines, rule, BATCH, start)).x.float()
                found[name] = torch.cat([have, new])
                torch.save(found, path)
                print(name, len(found[name]), flush=True)
    return found


def bytes_of(x: Tensor) -> list:
    """Return the first pictures, a byte a pixel."""
    return (255 * x[:SHOWN, 0].clamp(0, 1)).round().int().tolist()


def main() -> None:
    """Train, draw and measure what is missing, and write."""
    torch.set_num_threads(1)
    folder, machines = Path(sys.argv[1]), Machines(SETS["fashion_16"])
    theories = draw_theories(machines, folder)
    theories["mean"] = machines.train.mean(0).expand(NUM, -1, -1, -1)

    def measure(path: Path) -> dict:
        x = sampling.finish(draw(machines, kept_network(path), NUM)).x.float()
        r = {
            name: [round(v, 4) for v in metrics.correlation(t, x).tolist()]
            for name, t in theories.items()
        }
        return r | {"pictures": bytes_of(x)}

    shown = {name: bytes_of(t) for name, t in theories.items()}
    variants = {path.stem: path for path in train(folder)}
    measure_missing(OUT, "steps", variants, measure, theories=shown)


if __name__ == "__main__":
    main()
