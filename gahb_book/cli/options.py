"""Options of the commands, and what reads their values."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from gahb_book.cluster.jobs import EXECUTORS


def count(text: str) -> int:
    """Return a number from 1 that a text writes."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number, at least 1, not {text!r}")
    return int(text)


def at_most(most: int) -> Callable[[str], int]:
    """Return what reads a number from 0 to `most`."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) > most:
            raise argparse.ArgumentTypeError(f"must be a number from 0 to {most}, not {text!r}")
        return int(text)

    return read


def add_cluster_options(option: Callable) -> None:
    """Add the options of jobs on a cluster."""
    option("--executor", choices=EXECUTORS, default="local", help="here, or one job each")
    option("--minutes", type=count, default=24 * 60, help="time limit of a cluster's job")
    option(
        "--requeues", type=at_most(1000), default=30,
        help="how often a job whose minutes are over goes on as a new one (default: 30)",
    )  # fmt: skip
    option(
        "--gpus", type=at_most(64), default=1,
        help="GPUs of a cluster's job (default: 1; 0: none, for a cluster without)",
    )  # fmt: skip
    option("--partition", help="partition of the cluster")


def add_train_options(option: Callable) -> None:
    """Add the options of `gahb train`."""
    option("names", nargs="*", metavar="NAME", help="or a pattern in quotes, such as 'celeba/*'")
    option("--all", action="store_true", help="every recipe of the profile")
    option("--force", action="store_true", help="also what is trained already")
    option("--jobs", type=count, default=1, help="how many at once")
    option("--device", default="auto", help="cpu, cuda, ... (default: a GPU if there is one)")
    option("--images", type=Path, metavar="FOLDER", help="a network of your own images, instead")
    option("--network", default="unet", help="of --images: unet, bfcnn or transformer")
    option("--size", type=count, default=32, help="of --images: side in pixels (default: 32)")
    option("--channels", type=count, default=1, help="of --images: 1 (default), or 3 for colour")
    option("--steps", type=count, default=6000, help="of --images (default: 6000)")
    option(
        "--halves", action="store_true", help="of --images: two networks, A and B, of one half each"
    )
    add_cluster_options(option)


def add_run_options(option: Callable) -> None:
    """Add the options of `gahb run`."""
    option("pages", nargs="*", metavar="PAGE", help="names or their beginnings; none: all")
    option("--jobs", type=count, help="how many at once (default: 2, or 1 on one core)")
    option("--force", action="store_true", help="also what is unchanged")
    option("--fresh", action="store_true", help="compute kept values too, and say what differs")
    option(
        "-p", dest="parameter", metavar="NAME=VALUES", action="append", default=[],
        help="run variants, each beside its page: -p seed=0:5 -p num_test=128,512",
    )  # fmt: skip
    option("--timeout", type=count, metavar="SECONDS", help="that a page may take (default: any)")
    add_cluster_options(option)


def tolerance(text: str) -> float:
    """Return a number from 0 that a text writes."""
    try:
        if 0 <= (value := float(text)) < float("inf"):
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number, at least 0, not {text!r}")


def add_compare_options(option: Callable) -> None:
    """Add the options of `gahb compare`."""
    for side in "ab":
        option(side, metavar=side.upper(), help="a folder of results, or a variant: device=cpu")
    option("--rtol", type=tolerance, default=0.01, help="of A's figure (default: 0.01)")
    option("--atol", type=tolerance, default=1e-6, help="beside it (default: 1e-6)")
    option("--tolerances", type=Path, help="YAML {pattern of page/figure: {rtol, atol}}")
    option("--all", action="store_true", help="show also what is within the tolerances")
    option("--csv", action="store_true", help="all of them, with all digits")


def add_fetch_options(option: Callable, names: Sequence[str]) -> None:
    """Add the options of `gahb fetch`, which brings `names`."""
    known = " or ".join([", ".join(names[:-1]), names[-1]])
    option("datasets", nargs="+", metavar="DATASET", help=known)
    option("--size", type=count, help="celeba, lsun: side of the images made (default: 80)")


def add_results_options(option: Callable) -> None:
    """Add the options of `gahb results`."""
    option("pages", nargs="*", metavar="PAGE", help="names or their beginnings; none: all")
    option("--csv", action="store_true", help="with all digits, for other programs")


def add_kept_options(option: Callable) -> None:
    """Add the options of `gahb kept`."""
    option("pages", nargs="*", metavar="PAGE", help="names or their beginnings; none: all")
    option("--write", action="store_true", help="bring this machine's values to book/kept")
    option("--csv", action="store_true", help="with all digits, for other programs")


def add_examine_options(option: Callable) -> None:
    """Add the options of `gahb examine`."""
    option("denoiser", metavar="MODULE:FUNCTION", help="such as mine:denoiser, or mine.py:denoiser")
    option(
        "--images", type=Path, required=True, metavar="FOLDER",
        help="images that the network was not trained on; 40 or more give a null for copies",
    )  # fmt: skip
    option("--train", type=Path, metavar="FOLDER", help="images that it was trained on")
    option("--samples", type=Path, metavar="FOLDER", help="images that it drew (default: drawn)")
    option("--sigma", type=float, default=0.1, help="of the noise, images in [0, 1] (default: 0.1)")
    option("--out", type=Path, default=Path("examined"), help="folder (default: examined)")
    option("--device", default="auto", help="cpu, cuda, ... (default: a GPU if there is one)")
    option("--seed", type=int, default=0, help="of all noise")
    option("--num-samples", type=at_most(10_000), default=16, help="drawn (default: 16; 0: none)")
    add_cluster_options(option)
