"""Recipes: everything that decides a trained network, by name and profile."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch

from gahb_core.densities.learned import EnergyNet
from gahb_core.networks.models import BFCNN, SPATIAL_LAYERS, UNet
from gahb_core.networks.transformer import Transformer
from gahb_core.networks.weights import initialize
from gahb_core.noise import SigmaLaw

ARCHITECTURES = ("unet", "bfcnn", "transformer", "energy")


@dataclass(frozen=True)
class Recipe:
    """A trained network, before it is trained: same recipe, same machine, same bits.

    Attributes:
        name: as in checkpoints/<profile>/<name>.
        dataset: name of an image set (`images.open_images`).
        split: "A" or "B".
        num: how many images are trained on; None: endless, never the same twice.
        size: side of the images in pixels.
        level: j: the network is of level j of the Haar pyramid of the images; 0: of themselves.
        bands: "low": it denoises x_j. "details": it denoises x̄_j, told the clean x_j; σ is that
            of the bands, 1/2^j of the images'. Paper (b) multiplies each image by a random
            intensity for all but details; a bias-free network answers to a·x + a·σz as to
            x + σz, times a: another law of σ, so it is left to the law.
        architecture: "unet", "bfcnn", "transformer", or "energy": an energy on a UNet, told
            σ, trained by the dual loss (`densities.dual_score_losses`), both errors weighing one.
        channels: UNet: widths from full resolution down, one more than blocks. BF-CNN and
            transformer: (width,).
        num_layers: BF-CNN: convolutions. Transformer: blocks.
        spatial_layers: BF-CNN: which hidden layers are 3×3 (None: all).
        skip: BF-CNN: its input is added to what its last convolution gives.
        residual: BF-CNN: what each hidden layer is given is added to what it gives.
        colors: channels of the images: 1, or as many as own images have.
        told_sigma: the network is told σ, as a second, constant channel beside y: it is not blind.
        law: law of σ, drawn anew for every image of every step.
        weight_power: the loss is E ‖net(y) − σz‖² / σ^weight_power (0: the papers');
            of no effect on an energy, whose two errors have their own.
        batch_size, num_steps: images a step, and steps.
        learning_rate: at its highest.
        optimizer: "muon" (with Adam for what is no matrix), "adam", or "sgd" (with momentum).
        schedule: "cosine" (after a warm-up of 2%) or "halving" (every tenth of the steps).
        ema: decay of the running mean of the weights a step; 0: none.
        freeze_norm: part of the steps after which the norms use their running deviation.
        gain: factor on the initial weights.
        clip: largest norm of the gradient; 0: any.
        precision: "float32", or "bfloat16" for autocast in training.
        seed: weights, order of the images and noise.
        expected: what it should reach: {"psnr_out.20": ...}, in decibels on held-out images; a test
            holds its card against it.
    """

    name: str
    dataset: str
    split: str = "A"
    num: int | None = None
    size: int = 32
    level: int = 0
    bands: str = "low"
    architecture: str = "unet"
    channels: tuple[int, ...] = (16, 32, 64, 128)
    num_layers: int = 21
    spatial_layers: tuple[int, ...] | None = None
    skip: bool = False
    residual: bool = False
    colors: int = 1
    told_sigma: bool = False
    law: SigmaLaw = SigmaLaw("power", 0.005, 1.0, 2.0)
    weight_power: float = 1.0
    batch_size: int = 32
    num_steps: int = 6000
    learning_rate: float = 6e-3
    optimizer: str = "muon"
    schedule: str = "cosine"
    ema: float = 0.0
    freeze_norm: float = 0.7
    gain: float = 1.0
    clip: float = 0.0
    precision: str = "float32"
    seed: int = 0
    expected: dict = field(default_factory=dict, compare=False)


def _check_architecture(recipe: Recipe) -> None:
    """Refuse an architecture that is not known, and bands, skip or σ that it cannot take."""
    told, kind = recipe.bands == "details", recipe.architecture
    if recipe.bands not in ("low", "details") or told > (recipe.level > 0):
        raise ValueError(
            "bands must be 'low', or 'details' of a level from 1, "
            f"not {recipe.bands!r} of level {recipe.level}"
        )
    if kind not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {ARCHITECTURES}, not {kind!r}")
    if told and kind != "bfcnn":
        raise ValueError(f"architecture must be 'bfcnn' for details, not {kind!r}")
    for name in ("skip", "residual"):
        if getattr(recipe, name) and kind != "bfcnn":
            raise ValueError(f"{name} must be False for a {kind!r}, not True")
    if recipe.colors != 1 and (recipe.level or kind not in ("unet", "bfcnn")):
        raise ValueError(
            "colors must be 1 but for a 'unet' or 'bfcnn' of whole images, "
            f"not {recipe.colors} for a {kind!r} of level {recipe.level}"
        )
    if recipe.told_sigma and kind != "unet":
        raise ValueError(f"told_sigma must be False for a {kind!r}, not True")


def make_empty(recipe: Recipe) -> UNet | BFCNN | Transformer | EnergyNet:
    """Return the recipe's network before its weights are drawn."""
    widths = recipe.channels
    if recipe.architecture == "energy":
        return EnergyNet(widths)
    if recipe.architecture == "transformer":
        return Transformer(recipe.size >> recipe.level, widths[0], recipe.num_layers)
    if recipe.architecture == "unet":
        told = recipe.colors + recipe.told_sigma
        return UNet(len(widths) - 1, channels=widths, channels_in=told, channels_out=recipe.colors)
    ends = (4, 3) if recipe.bands == "details" else (recipe.colors, recipe.colors)
    forms = {n: getattr(recipe, n) for n in ("spatial_layers", "skip", "residual")}
    return BFCNN(recipe.num_layers, widths[0], *ends, **forms)


def make_network(recipe: Recipe) -> UNet | BFCNN | Transformer | EnergyNet:
    """Return the recipe's network with its initial weights.

    Raises:
        ValueError: for an unknown architecture, or bands that it cannot take.
    """
    _check_architecture(recipe)
    with torch.device("cpu"):  # where its weights are drawn
        net = make_empty(recipe).float()  # whatever the process takes as given
    return initialize(net, recipe.seed, recipe.gain)


def to_json(recipe: Recipe) -> dict:
    """Return the recipe as plain JSON data (without what it is expected to reach)."""
    data = asdict(recipe)
    data["law"] = recipe.law._asdict()
    del data["expected"]
    # younger than the first checkpoints, and in those as by default
    for name in ("level", "bands", "skip", "residual", "colors", "told_sigma", "precision"):
        if data[name] == getattr(Recipe, name):
            del data[name]
    return json.loads(json.dumps(data))


def fingerprint(recipe: Recipe) -> str:
    """Return 16 hexadecimal digits that differ between recipes that train different networks."""
    return hashlib.sha256(json.dumps(to_json(recipe), sort_keys=True).encode()).hexdigest()[:16]


def as_in_papers(recipe: Recipe, num_steps: int | None = None) -> Recipe:
    """Return `recipe` trained as in paper (a): σ = u², plain sum of squares, Adam 1e-3 halved.

    Batches, network and images stay those of `recipe`, and so does the number of steps unless
    given. The papers spend 488,000 steps of 512 images.
    """
    return replace(
        recipe,
        law=SigmaLaw("power", 0.0, 1.0, 2.0),
        weight_power=0.0,
        learning_rate=1e-3,
        optimizer="adam",
        schedule="halving",
        ema=0.0,
        freeze_norm=1.0,
        num_steps=num_steps or recipe.num_steps,
    )


def for_dataset_sizes(recipe: Recipe, prefix: str, nums: tuple[int, ...]) -> list[Recipe]:
    """Return recipes of the first n images of A and of B, n in `nums`: else the same."""
    table = []
    for n in nums:
        expected = recipe.expected if n == max(nums) else {}
        same = replace(recipe, num=n, expected=expected)
        table += [replace(same, name=f"{prefix}/N={n}/{s}", split=s) for s in "AB"]
    return table


# widths at which networks of 21 layers have nearly as many parameters at every field: those of
# pixels 37,000 to 44,400, those of details 22,000 to 25,600
PIXEL_WIDTHS = {5: 44, 9: 32, 13: 27, 23: 21, 43: 16}
DETAIL_WIDTHS = {5: 32, 9: 24, 13: 20, 23: 16, 43: 12}

C_ALPHA_STEPS = {4: 40_000, 5: 72_000}  # the smoother the images, the later the plateau


def _local(prefix: str, images: Recipe, batches: tuple, details: dict) -> list[Recipe]:
    """Return the networks of pixels, and of details of levels 1 and 2, by receptive field.

    Depth is the same; so are the images seen and (nearly) the parameters, among those of pixels
    and among those of details. Those of pixels have more parameters: with few, a wide field is
    wasted on them. Those of details are residual, and long trained: where the field is wide, plain
    ones lost 2 dB at little noise, and 3,000 batches .5 dB (`book/experiments/details_form.py`).
    The law of details begins where that of pixels does, and ends at σ = 1 as in paper (b); their
    largest possible coefficient is 1/2 (found in training images of 64×64: .30 and .37 at levels 1
    and 2 for faces, .48 and .46 for C^2).

    Args:
        prefix: of their names.
        images: recipe of what is the same.
        batches: (batch_size, num_steps) in pixels, at level 1, at level 2.
        details: widths of networks of details by field, where not those of `DETAIL_WIDTHS`.
    """
    table = []
    for level, (batch_size, num_steps) in enumerate(batches):
        bands: dict[str, Any] = {}
        part, by_field = "pixel", PIXEL_WIDTHS
        if level:
            part, by_field = f"details={level}", DETAIL_WIDTHS | details
            law = SigmaLaw("power", 0.005 / 2**level, 1.0, 2.0)
            bands = {"level": level, "bands": "details", "residual": True, "law": law}
        made = replace(images, batch_size=batch_size, num_steps=num_steps, **bands)
        for field_, width in by_field.items():
            fields: dict[str, Any] = {
                "channels": (width,),
                "spatial_layers": SPATIAL_LAYERS[field_],
            }
            table.append(replace(made, name=f"{prefix}/{part}/RF={field_}", **fields))
    return table


def _local_networks(faces: Recipe) -> list[Recipe]:
    """Return the local networks of chapters 8 to 10, and the global one of small C² images."""
    local = replace(faces, size=64, architecture="bfcnn", freeze_norm=0.1, expected={})
    table = _local("local/faces", local, ((4, 30_000), (8, 16_000), (16, 8_000)), {})
    smooth = replace(local, dataset="c_alpha/alpha=2", num=None)
    # with 12 channels a field of 43×43 was .4 dB behind one of 13×13 with 20
    steps = ((16, 15_000), (32, 14_000), (32, 15_000))
    table += _local("local/c_alpha", smooth, steps, {43: 20})
    low = Recipe("local/c_alpha/low", smooth.dataset, size=64, level=2, num_steps=14_000)
    return [*table, low]


def _endless() -> list[Recipe]:
    """Return the networks of made images, wide at full resolution where they have contours."""
    table = [Recipe(n, n) for n in ("sinusoids", "ray")]
    wide = Recipe("disks", "disks", channels=(32, 48, 64, 96), learning_rate=1e-2)
    wide = replace(wide, batch_size=8, freeze_norm=0.1)
    table += [replace(wide, batch_size=32, num_steps=21_000)]
    table += [replace(wide, name="ellipses", dataset="ellipses", num_steps=12_000)]
    for a in range(1, 6):  # every σ counts by the error that theory expects there, σ^(2α/(α+1))
        name, num_steps = f"c_alpha/alpha={a}", C_ALPHA_STEPS.get(a, 24_000)
        made = replace(wide, name=name, dataset=name, num_steps=num_steps)
        table.append(replace(made, weight_power=2 * a / (a + 1)))
    return table


def _controls(garments: Recipe) -> list[Recipe]:
    """Return the UNet that is told σ, and the transformer: each beside the UNet of garments.

    At this rate the transformer's loss leaps once, after 3,400 steps, to twenty times its height,
    and is back after 400 more.
    """
    same = replace(garments, num=10_000, expected={})
    told = replace(same, name="told/fashion/N=10000/A", told_sigma=True)
    size: dict[str, Any] = {
        "channels": (128,),
        "num_layers": 5,
        "num_steps": 12_000,
        "precision": "bfloat16",
    }
    name = "transformer/fashion/N=10000/A"
    return [told, replace(same, name=name, architecture="transformer", **size)]


# the networks that carry a claim alone: each is trained twice on the same images
TWICE = (
    "fashion/N=10000/A", "faces/N=6000/A", "c_alpha/alpha=2", "c_alpha/alpha=4", "disks",
    "transformer/fashion/N=10000/A",
)  # fmt: skip


def _second(table: list[Recipe]) -> list[Recipe]:
    """Return the second trainings of `TWICE`: other weights, order and noise, the same images."""
    by_name = {recipe.name: recipe for recipe in table}
    return [replace(by_name[name], name=f"seed=1/{name}", seed=1) for name in TWICE]


def _laptop() -> dict[str, Recipe]:
    reached = {"psnr_out.0": 17.8, "psnr_out.10": 22.4, "psnr_out.20": 28.4, "psnr_out.30": 35.6}
    garments = Recipe("", "fashion", expected=reached)
    reached = {"psnr_out.0": 19.2, "psnr_out.10": 23.1, "psnr_out.20": 27.9, "psnr_out.30": 33.9}
    faces = Recipe("", "faces", num=6_000, expected=reached)
    table = for_dataset_sizes(garments, "fashion", (10_000, 1, 10, 100, 1_000))
    table += for_dataset_sizes(faces, "faces", (6_000, 1, 10, 100, 1_000))
    table += _controls(garments)
    bfcnn = replace(garments, architecture="bfcnn", channels=(32,), size=16, expected={})
    table += for_dataset_sizes(bfcnn, "bfcnn/fashion", (10_000, 10))
    for size, num in ((16, 6_000), (16, 1_000), (16, 100), (24, 6_000), (24, 1_000)):
        small = replace(faces, size=size, num=num, expected={})
        table.append(replace(small, name=f"faces/size={size}/N={num}/A"))
    large = replace(faces, size=64, batch_size=16, num_steps=7_500, expected={})
    table.append(replace(large, name="faces/size=64/N=6000/A"))
    energy = replace(garments, architecture="energy", law=SigmaLaw("log", 0.005, 10.0), expected={})
    energy = replace(energy, batch_size=64, num_steps=8_000, learning_rate=3e-3, freeze_norm=0.1)
    energy = replace(energy, clip=1.0)  # without it one of two stayed at its first plateau
    a, b = for_dataset_sizes(energy, "energy/fashion", (10_000,))
    table += [a, replace(b, num_steps=8_500)]  # each as long as four minutes of a GPU allowed
    contours = Recipe("", "c_alpha/alpha=2", num_steps=4_000)
    table += for_dataset_sizes(contours, "c_alpha/alpha=2", (100_000, 10))
    shuffled = replace(faces, name="shuffled/faces/N=6000/A", dataset="shuffled/faces", expected={})
    table += [replace(shuffled, batch_size=64, num_steps=14_000), *_endless()]
    table += _local_networks(faces)
    table += _second(table)
    return {recipe.name: recipe for recipe in table}


def _smoke(recipe: Recipe) -> Recipe:
    num = recipe.num and min(recipe.num, 64)
    small: dict[str, Any] = {"channels": (4, 8), "num_steps": 40, "batch_size": 8, "num": num}
    return replace(recipe, **small)


LAPTOP = _laptop()
SMOKE = {n: _smoke(r) for n, r in LAPTOP.items()}
