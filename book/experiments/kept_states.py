"""One training of 10,000 garments, its network kept at steps 2^k and at the end.

    python book/experiments/kept_states.py FOLDER        (eleven minutes of one core; it resumes)

The recipe is that of the shipped network `fashion/N=10000/A`, and so are data, order and noise.
FOLDER takes the state of the training and one file of weights a kept step, with the norms set to
those of the kept weights (the running averages of training trail them). `born.py FOLDER` measures
the basis of each.
"""

import copy
import sys
from pathlib import Path

import safetensors.torch
import torch

from gahb_core.data import open_images
from gahb_core.files import write_safely
from gahb_core.networks.models import UNet
from gahb_core.training import estimate_norms, find_recipe, fit

RECIPE = "fashion/N=10000/A"
STEPS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 6000)


def keep(net: UNet, path: Path) -> None:
    """Write the weights of a network in training, its norms estimated anew, in half precision."""
    recipe = find_recipe(RECIPE, "laptop")
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    images = open_images(recipe.dataset, recipe.split, recipe.num, recipe.size)
    estimate_norms(net, recipe, images)
    state = {k: v.half() if v.ndim == 4 and len(v) > 1 else v for k, v in net.state_dict().items()}
    write_safely(path, safetensors.torch.save({k: v.contiguous() for k, v in state.items()}))


def main() -> None:
    """Train, and keep what is not kept yet."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    recipe = find_recipe(RECIPE, "laptop")
    for progress in fit(recipe, folder / "state.pt", save_seconds=30, also=STEPS):
        path = folder / f"{progress.step}.safetensors"
        if progress.step in STEPS and not path.exists():
            keep(progress.net, path)
            print(progress.step, round(progress.loss, 4), round(progress.seconds), flush=True)


if __name__ == "__main__":
    main()
