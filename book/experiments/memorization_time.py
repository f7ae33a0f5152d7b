"""When networks memorize: images of 16×16, n = 16 to 512, kept at powers of √2 of the step.

    python book/experiments/memorization_time.py FOLDER A [faces]     (20 minutes of one core)
    python book/experiments/memorization_time.py FOLDER B [faces]
    python book/experiments/memorization_time.py FOLDER collect [faces]

Of garments, or of faces. The first two train one network for each n, on the first n images of a
split, and measure it at every kept step; FOLDER takes the weights, and a training goes on from the
last of them. A network whose samples are memorized stops. `collect` writes
book/measured/memorization_time.json, or memorization_time_faces.json.

    python book/experiments/memorization_time.py FOLDER rates --optimizer sgd    (two minutes)
    python book/experiments/memorization_time.py FOLDER A --optimizer sgd        (ten minutes)
    python book/experiments/memorization_time.py FOLDER collect --optimizer sgd

The same with another optimizer, garments of n = 16, 32 and 64 alone, at the rate of RATES whose
network of 64 images has the least error on them after 512 steps. `--optimizer` "adam" or "sgd"
(with momentum) writes memorization_time_adam.json or memorization_time_sgd.json.

Predicted before the first of these was run. With Muon the step at which half of the samples are
copies grows as n^1.54, then n^1.31, from 16 to 32 to 64 images; the step at which the error on the
own images falls to a tenth of the noise, as n^.95 and n^1.16. Muon lets all directions of a weight
advance alike, where the theory has one clock a direction, 1/λ.
(1) Were Muon the reason that copies come later than in proportion, Adam's powers from 16 to 64
    images would be 0.85 to 1.15. We expect 1.2 to 1.7: the reason is not the optimizer.
(2) The own error of both controls reaches a tenth at a power of 0.8 to 1.3, as Muon's does.
(3) Gradient descent with momentum takes at least three times as many steps as Muon to each mark,
    and half of its samples are not copies of 64 images within 256 steps per image.
"""

import argparse
import base64
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from gahb_book.measured import FOLDER, read, write
from gahb_core.data import load_images, open_images
from gahb_core.denoisers.contract import residual_denoiser
from gahb_core.files import atomic_write
from gahb_core.metrics.pairs import correlation
from gahb_core.networks.norm import BiasFreeNorm
from gahb_core.noise import add_noise
from gahb_core.sampling.ascent import sample
from gahb_core.training import Recipe, estimate_norms, make_batch, make_network, make_optimizer

FILES = {"fashion": "memorization_time.json", "faces": "memorization_time_faces.json"}
RATES = {"adam": (0.002, 0.006, 0.02), "sgd": (0.03, 0.1, 0.3, 1.0)}  # tried; Muon's is BASE's
CONTROLS, RATE_STEPS = (16, 32, 64), 512  # n of other optimizers; steps after which rates compare
NUMS, SIZE, NUM_SAMPLES, SHOWN = (16, 32, 64, 128, 256, 512), 16, 64, 8
STEPS_PER_IMAGE = 256  # of the longest training
KEPT = [round(2 ** (k / 2)) for k in range(12, 33)]  # 64, 91, 128 … 65,536
SIGMAS = (0.05, 0.1, 0.2, 0.5)
BASE = Recipe("", "fashion", size=SIZE, channels=(16, 32, 64), batch_size=16, ema=0.995)
WARM, FROZEN = 100, 200  # steps of rising rate; steps after which the norms are at rest


class Training:
    """One network under way, at a constant rate without weight decay, and its running mean."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.step, self.seconds = recipe, 0, 0.0
        self.images = open_images(recipe.dataset, recipe.split, recipe.num, recipe.size)
        self.net = make_network(recipe).to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(recipe, self.net)
        self.mean = {k: v.clone() for k, v in self.net.state_dict().items()}

    def take_step(self) -> None:
        """Do one step; the norms are estimated once, and then left."""
        if self.step == FROZEN:
            estimate_norms(self.net, self.recipe, self.images)
        self.net.train()
        for norm in self.net.modules():
            if isinstance(norm, BiasFreeNorm) and self.step >= FROZEN:
                norm.eval()
        y, noise, sigma = make_batch(self.recipe, self.images, self.step)
        errors = (self.net(y) - noise).square().flatten(1).mean(1)
        self.optimizer.zero_grad(set_to_none=True)
        (errors / sigma).mean().backward()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * min(1, (self.step + 1) / WARM)
        self.optimizer.step()
        decay = min(self.recipe.ema, (self.step + 1) / (self.step + 10))
        now = self.net.state_dict()
        torch._foreach_lerp_(list(self.mean.values()), [now[k] for k in self.mean], 1 - decay)
        self.step += 1

    def state(self) -> dict:
        """Return what a training goes on from."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "mean": self.mean,
        }

    def load(self, state: dict) -> None:
        """Go on from a `state`."""
        self.step, self.seconds, self.mean = state["step"], state["seconds"], state["mean"]
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def averaged(training: Training) -> nn.Module:
    """Return the network of the running mean, its norms at rest and those of its own batches."""
    net = make_network(training.recipe)
    net.load_state_dict(training.mean)
    if training.step <= FROZEN:
        estimate_norms(net, training.recipe, training.images, 10)
    return net.eval()


def relative_errors(f: object, x: Tensor) -> list[float]:
    """Return ‖f(y) − x‖² / (σ²D), the mean over images, at each of SIGMAS."""
    return [float((f(add_noise(x, s, 5)) - x).square().mean()) / s**2 for s in SIGMAS]


def ray_distances(samples: Tensor, x: Tensor) -> Tensor:
    """Return min over a of ‖sample − a x‖, (B, N): bias-free networks memorize up to brightness."""
    unit = nn.functional.normalize(x.flatten(1))
    along = samples.flatten(1) @ unit.T
    return (samples.flatten(1).square().sum(1)[:, None] - along**2).clamp(min=0).sqrt()


def share(ratios: Tensor) -> float:
    """Return the share of d₁/d₂ below 1/3."""
    return float((ratios < 1 / 3).float().mean())


@torch.no_grad()
def measure(training: Training) -> dict:
    """Return the figures of a network, and its samples, from the same noise for every network."""
    f, recipe = residual_denoiser(averaged(training)), training.recipe
    x = load_images(recipe.dataset, recipe.split, recipe.num, SIZE)
    grey = load_images(recipe.dataset, "A", 1000, SIZE).mean(0)
    end = sample(f, NUM_SAMPLES, (1, SIZE, SIZE), mean=grey, beta=0.3, h=0.03, max_iterations=300)
    near = torch.cdist(end.x.flatten(1), x.flatten(1)).topk(2, largest=False)
    rays = ray_distances(end.x, x).topk(2, largest=False)
    return {
        "ratios": near.values[:, 0] / near.values[:, 1],
        "ray_ratios": rays.values[:, 0] / rays.values[:, 1],
        "closest": rays.indices[:, 0],
        "distances": rays.values[:, 0] / SIZE,
        "samples": end.x,
        "finished": float(end.finished.float().mean()),
        "train": relative_errors(f, x[:64]),
        "held_out": relative_errors(f, load_images(recipe.dataset, "test", 256, SIZE)),
    }


def save(path: Path, content: dict) -> None:
    """Write a file of tensors, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as part:
        torch.save(content, part)


def run(folder: Path, recipe: Recipe) -> None:
    """Train a network and measure it at each of KEPT, until it has memorized or its time is up."""
    training, most, memorized = Training(recipe), STEPS_PER_IMAGE * recipe.num, 0
    if (folder / "state.pt").exists():
        training.load(torch.load(folder / "state.pt", weights_only=True))
    for kept in [k for k in KEPT if k <= most]:
        if not (folder / f"{kept}.pt").exists():
            began = time.process_time()
            while training.step < kept:
                training.take_step()
            training.seconds += time.process_time() - began
            found = measure(training)
            save(folder / "state.pt", training.state())
            save(folder / f"{kept}.pt", found | {"mean": training.mean})
            shares = share(found["ratios"]), share(found["ray_ratios"])
            print(recipe.name, kept, round(training.seconds), *shares, found["train"], flush=True)
        ratios = torch.load(folder / f"{kept}.pt", weights_only=True)["ray_ratios"]
        memorized = memorized + 1 if share(ratios) > 0.9 else 0
        if memorized == 2:
            return


def as_text(x: Tensor) -> str:
    """Return images in [0, 1] as bytes in base64."""
    return base64.b64encode((x.clamp(0, 1) * 255).round().to(torch.uint8).numpy()).decode()


def one_row(folder: Path, kept: int) -> dict:
    """Return what the page needs of one network at one step."""
    found = torch.load(folder / f"{kept}.pt", weights_only=True)
    row = {
        "memorized": share(found["ray_ratios"]),
        "memorized_euclidean": share(found["ratios"]),
        "ratio": round(float(found["ray_ratios"].median()), 4),
        "distance": round(float(found["distances"].median()), 4),
        "finished": found["finished"],
        "train": [round(v, 4) for v in found["train"]],
        "held_out": [round(v, 4) for v in found["held_out"]],
    }
    if folder.name == "A" and KEPT.index(kept) % 2 == 0:
        row["samples"] = as_text(found["samples"][:SHOWN])
        row["closest"] = found["closest"][:SHOWN].tolist()
    other = folder.parent / "B" / f"{kept}.pt"
    if folder.name == "A" and other.exists():
        b = torch.load(other, weights_only=True)["samples"]
        row["agreement"] = round(float(correlation(found["samples"], b).median()), 4)
    return row


def collect(folder: Path, file: str, nums: tuple[int, ...], **beside: object) -> None:
    """Write what was measured so far, and what stands `beside` it."""
    found = {"size": SIZE, "sigmas": SIGMAS, "num_samples": NUM_SAMPLES, "batch": BASE.batch_size}
    found |= beside
    found["rows"] = {
        str(num): {
            split: {str(k): one_row(path, k) for k in KEPT if (path / f"{k}.pt").exists()}
            for split in "AB"
            if (path := folder / str(num) / split).exists()
        }
        for num in nums
        if (folder / str(num)).exists()
    }
    write(FOLDER / file, found)


def compare_rates(path: Path, recipe: Recipe) -> None:
    """Write the error on its own images, after RATE_STEPS, of a network of each rate."""
    x, found = load_images(recipe.dataset, recipe.split, recipe.num, SIZE), read(path)
    for rate in RATES[recipe.optimizer]:
        if str(rate) not in found:
            training = Training(replace(recipe, learning_rate=rate))
            while training.step < RATE_STEPS:
                training.take_step()
            with torch.no_grad():
                errors = relative_errors(residual_denoiser(averaged(training)), x)
            found[str(rate)] = round(errors[SIGMAS.index(0.1)], 4)
            print(recipe.name, rate, found[str(rate)], flush=True)
            write(path, found)


def least(rates: dict[str, float]) -> float:
    """Return the rate of the least error; of those, a network that diverged (NaN) is none."""
    if not (kept := {rate: error for rate, error in rates.items() if error == error}):
        raise ValueError("rates must be compared first, and one of them must not diverge")
    return float(min(kept, key=kept.get))


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="takes the weights")
    parser.add_argument("what", choices=("A", "B", "collect", "rates"))
    parser.add_argument("dataset", nargs="?", default="fashion", choices=FILES)
    parser.add_argument("--optimizer", default=BASE.optimizer, choices=(BASE.optimizer, *RATES))
    return parser.parse_args()


def main() -> None:
    """Train and measure a split, compare rates, or collect."""
    torch.set_num_threads(1)
    asked, nums, base, beside = arguments(), NUMS, BASE, {}
    file = FILES[asked.dataset]
    if asked.optimizer != BASE.optimizer:
        nums, file = CONTROLS, file.replace(".json", f"_{asked.optimizer}.json")
        base, path = replace(BASE, optimizer=asked.optimizer), asked.folder / "rates.json"
        if asked.what == "rates":
            name = f"{asked.optimizer}/N={nums[-1]}"
            return compare_rates(path, replace(base, name=name, num=nums[-1]))
        base = replace(base, learning_rate=least(read(path)))
        beside = {"optimizer": base.optimizer, "rate": base.learning_rate, "rates": read(path)}
    if asked.what == "collect":
        return collect(asked.folder, file, nums, **beside)
    for num in nums:
        name = f"{base.optimizer}/{asked.dataset}/size={SIZE}/N={num}/{asked.what}"
        seed = "AB".index(asked.what)  # weights, order and noise, too
        given = {"name": name, "dataset": asked.dataset, "num": num, "split": asked.what}
        run(asked.folder / str(num) / asked.what, replace(base, seed=seed, **given))
    return None


if __name__ == "__main__":
    main()
