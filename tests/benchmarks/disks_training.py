"""How the tail of the disks' network shrinks as it is trained: its factors along one training.

    python tests/benchmarks/disks_training.py [STATE ...]

Trains the recipe `disks` anew (about ten minutes) and measures the twenty largest factors at
σ = .04 on six test disks after each of STEPS; or measures the saved states of an unfinished
training. The last step is the checkpoint that ships. Chapter 7 shows it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from gahb_core import checkpoints, jacobian, training
from gahb_core.denoisers import residual_denoiser
from gahb_core.images import draw_disks, make_disk_parameters
from gahb_core.networks import fold_norm
from gahb_core.noise import add_noise
from gahb_core.recipes import find_recipe, make_network

OUT = Path(__file__).parents[2] / "book" / "measured" / "disks_training.json"
STEPS = (600, 1200, 2400, 3600, 4200, 4800, 5400)
SIGMA, NUM, CONTRAST = 0.04, 6, 0.25


def choose_disks() -> torch.Tensor:
    """Return the first NUM test disks whose greys differ by at least CONTRAST."""
    parameters = make_disk_parameters(24, 32, seed=2)
    seen = (parameters[:, 3] - parameters[:, 4]).abs() >= CONTRAST
    return draw_disks(parameters[seen][:NUM], 32)


def measure(net: torch.nn.Module) -> list[float]:
    """Return the mean of each of the 20 largest factors over the disks."""
    f = residual_denoiser(fold_norm(net.eval()).requires_grad_(False))
    y = add_noise(choose_disks(), SIGMA, 0)
    lam = [jacobian.top_eigenpairs(f, one, 20, tol=0.01).lam for one in y.split(1)]
    return torch.stack(lam).mean(0).tolist()


def follow(states: list[str]) -> Iterator[tuple[int, torch.nn.Module]]:
    """Yield (step, network) of each saved state, or of a training from the start."""
    recipe = find_recipe("disks")
    for path in states:
        data = torch.load(path, weights_only=True)
        net = make_network(recipe)
        net.load_state_dict(data["net"])
        yield data["step"], net
    if not states:
        for progress in training.train(recipe):
            if progress.step in STEPS:
                yield progress.step, progress.net


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    table = {}
    for step, net in follow(sys.argv[1:]):
        table[step] = measure(net)
        print(step, [round(v, 3) for v in table[step][:10]], flush=True)
    recipe = find_recipe("disks")
    table[recipe.num_steps] = measure(checkpoints.load("disks").net)
    content = {"batch_size": recipe.batch_size, "sigma": SIGMA, "disks": NUM, "lam": table}
    OUT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
