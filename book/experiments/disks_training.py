"""How the tail of the disks' network shrinks as it is trained: its factors along one training.

    python book/experiments/disks_training.py [FOLDER]

Trains the recipe `disks` anew, by forty thousand batches of 8 (about twenty minutes of a core; the
network that ships saw larger ones, on a GPU), and measures it after each of STEPS; or measures the
weights kept in FOLDER as disks_STEP.pt by such a training. Measured: the twenty largest factors at
σ = .04 on six test disks, and for one of them, at each of SIGMAS, the first eigenvectors. A step
that is in the file is not measured again. Chapter 7 shows it.
"""

import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from gahb_book.plots import to_grey
from gahb_core import jacobian, training
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.files import write_safely
from gahb_core.images import draw_disks, make_disk_parameters
from gahb_core.networks.models import fold_norm
from gahb_core.noise import add_noise
from gahb_core.training import Recipe, find_recipe, fingerprint, make_network

OUT = Path(__file__).parents[2] / "book" / "measured" / "disks_training.json"
STEPS = (200, 1000, 4000, 8000, 12_000, 16_000, 20_000, 24_000, 28_000, 32_000, 36_000)
LAST = 40_000
DRAWN = (200, 1000, 4000, 12_000, 20_000, 32_000)  # and the last: with eigenvectors
SIGMA, NUM, CONTRAST = 0.04, 6, 0.25
SIGMAS, NUM_ATOMS = (0.02, 0.04, 0.1, 0.3), 10


def choose_recipe() -> Recipe:
    """Return the recipe whose training is followed."""
    return replace(find_recipe("disks"), batch_size=8, num_steps=LAST)


def choose_disks() -> torch.Tensor:
    """Return the first NUM test disks whose greys differ by at least CONTRAST."""
    parameters = make_disk_parameters(24, 32, seed=2)
    seen = (parameters[:, 3] - parameters[:, 4]).abs() >= CONTRAST
    return draw_disks(parameters[seen][:NUM], 32)


def measure(net: torch.nn.Module, drawn: bool) -> dict:
    """Return the mean of each of the 20 largest factors over the disks, and one disk's atoms."""
    f = residual_denoiser(fold_norm(net.eval()).requires_grad_(False))
    x = choose_disks()
    y = add_noise(x, SIGMA, 0)
    lam = [jacobian.top_eigenpairs(f, one, num=20, tol=0.01).lam for one in y.split(1)]
    found = {"lam": [round(v, 4) for v in torch.stack(lam).mean(0).tolist()]}
    for s in SIGMAS if drawn else ():
        top = jacobian.top_eigenpairs(f, add_noise(x[:1], s, 0), num=NUM_ATOMS, tol=0.01)
        grey = (to_grey(top.atoms) * 255).round().to(torch.uint8).numpy().tobytes()
        lam = [round(v, 4) for v in top.lam.tolist()]
        found[f"σ={s:g}"] = {"lam": lam, "atoms": base64.b64encode(grey).decode()}
    return found


def follow(folder: str | None) -> Iterator[tuple[int, torch.nn.Module]]:
    """Yield (step, network) of the weights kept in `folder`, or of a training from the start."""
    recipe = choose_recipe()
    for step in (*STEPS, LAST) if folder else ():
        net = make_network(recipe)
        net.load_state_dict(torch.load(Path(folder) / f"disks_{step}.pt", weights_only=True))
        yield step, net
    if not folder:
        for progress in training.fit(recipe):
            if progress.step in STEPS or progress.done:  # the last with its averaged weights
                yield progress.step, progress.net


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    recipe = choose_recipe()
    content = {"recipe": fingerprint(recipe), "batch_size": recipe.batch_size, "sigma": SIGMA}
    content |= {"disks": NUM, "sigmas": SIGMAS, "atoms": NUM_ATOMS, "steps": {}}
    if OUT.is_file() and (kept := json.loads(OUT.read_text())).get("recipe") == content["recipe"]:
        content["steps"] = kept["steps"]
    for step, net in follow(*sys.argv[1:2] or [None]):
        if str(step) not in content["steps"]:
            table = measure(net, step in (*DRAWN, recipe.num_steps))
            content["steps"][str(step)] = table
            print(step, table["lam"][:10], flush=True)
            write_safely(OUT, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
