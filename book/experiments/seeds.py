"""Headline figures of the book over seeds: book/measured/seeds.json.

    python book/experiments/seeds.py

Runs each page below with seeds 0 … NUM − 1 as variants (about a minute each) and keeps its headline
figures. What a page took is in the file at once; a page that is in it is not run again. The page
"Running at scale" shows mean and interval beside the figure of the book, which is that of seed 0.
"""

import argparse
from functools import partial

from gahb_book.measured import FOLDER, measure_missing
from gahb_book.places import Places, find_root
from gahb_book.report import load_results
from gahb_book.report.batches import flatten
from gahb_book.run import run_pages

OUT = FOLDER / "seeds.json"
NUM = 5
HEADLINES = {  # page → its figures; one number of several is name[key]
    "04_fixed_bases": ["bases.psnr_in_10.cyclespin", "bases.psnr_in_10.network"],
    "01_tweedie": ["tweedie.psnr.30"],
    "02_sampling": ["sampling.iterations", "sampling.variance_share_fitted_start"],
    "05_adaptive_bases": ["gahb.trace_by_sigma[0.15]", "gahb.overlap_same.10"],
    "07_manifolds": ["disks.lambda.5", "disks.slope"],
    "13_blind": ["blind.sigma_sd.disks", "blind.drift[blind]"],
    "03_transition": [
        "transition.pair_corr.100", "transition.pair_corr.10000", "transition.closest_corr.10000",
    ],
    "06_c_alpha": ["c_alpha.slope.1", "c_alpha.slope.2", "c_alpha.slope.4"],
    "03_transition_faces": ["transition.pair_corr.6000", "transition.closest_corr.6000"],
    "10_synthesis": [
        "synthesis.super_resolution_psnr[one]", "synthesis.super_resolution_psnr[mean]",
        "synthesis.detail_ratio[0]", "synthesis.detail_ratio[1]", "synthesis.one_over_mean",
    ],
}  # fmt: skip


def measure(page: str, num: int) -> dict[str, list[float]]:
    """Return the headline figures of a page for seeds 0 … num − 1."""
    places = Places(find_root())
    outcomes = run_pages(
        places, [page], num_jobs=1, variants=[{"seed": seed} for seed in range(num)]
    )
    failed = [o for o in outcomes if o.status not in ("ok", "unchanged")]
    if failed:
        raise RuntimeError(f"{failed[0].page}: {failed[0].detail}")
    found: dict[str, list[float]] = {name: [] for name in HEADLINES[page]}
    for outcome in outcomes:
        results = load_results(outcome.page, places.profile, places.root).values()
        numbers = dict(pair for r in results for pair in flatten(r.name, r.value))
        for name, values in found.items():
            values.append(float(f"{numbers[name]:.6g}"))
    return found


def main() -> None:
    """Measure what is missing and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=NUM, help=f"seeds of a page (default: {NUM})")
    num = parser.parse_args().num
    variants = {page: page for page in HEADLINES}
    measure_missing(OUT, "values", variants, partial(measure, num=num))


if __name__ == "__main__":
    main()
