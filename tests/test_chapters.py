"""Every page runs, and the figures it records are within what the book says of them."""

import math

import pytest
from conftest import ROOT

from gahb_core.pages import Places, load_pages, load_results
from gahb_core.pages.run import is_current

pytestmark = pytest.mark.pages

PAGES = {page.name: page for page in load_pages(ROOT)}

# page, figure, and its range at the laptop's scale (of every number, for a dict or a list)
INVERSE = ("", "_faces", "_photographs")  # pages of chapter 11
RANGES: list[tuple[str, str, float, float]] = [
    ("00_curse", "curse.kl_kernel.1", 0, 0.002),
    ("00_curse", "curse.kl_kernel.64", 7, 11),
    ("00_curse", "curse.kl_gaussian.64", 0.1, 0.14),
    *(("00_curse", f"curse.power.{d}", 4 / (4 + d) - 0.2, 4 / (4 + d) + 0.3) for d in (1, 2, 3)),
    *(("00_curse", f"curse.power.{d}", 4 / (4 + d) - 0.2, 4 / (4 + d) + 0.1) for d in (4, 6, 8)),
    ("00_curse", "curse.nearest_over_mean.1024", 0.9, 0.95),
    ("00_curse", "curse.nearest_over_mean.garments", 0.3, 0.42),
    ("01_tweedie", "tweedie.identity_max_error", 0, 1e-6),
    ("01_tweedie", "tweedie.kl_bound_rel_error", 0, 1e-3),
    ("01_tweedie", "tweedie.psnr.0", 17.0, 18.5),
    ("01_tweedie", "tweedie.psnr.10", 21.5, 23.0),
    ("01_tweedie", "tweedie.psnr.20", 27.4, 29.0),
    ("01_tweedie", "tweedie.psnr.30", 34.8, 36.5),
    ("01_tweedie", "tweedie.blind_sigma_rel_error", 0, 0.12),
    ("02_sampling", "sampling.gaussian_cov_rel_error", 0, 0.16),
    ("02_sampling", "sampling.closest_cosine_memorizer", 0.999, 1.0001),
    ("02_sampling", "sampling.closest_cosine_network", 0.8, 0.97),
    ("02_sampling", "sampling.closest_norm_ratio_memorizer", 0.999, 1.001),
    ("02_sampling", "sampling.closest_norm_ratio_network", 0.4, 0.95),
    ("02_sampling", "sampling.variance_kept_paper", 0.6, 1),
    ("02_sampling", "sampling.variance_kept_code", 0.5, 0.7),
    ("02_sampling", "sampling.gaussian_cov_rel_error_start_1", 0.2, 0.32),
    ("02_sampling", "sampling.frechet_fitted_start", 0, 8),
    ("03_transition", "transition.beta_100.pair_corr.10000", 0.95, 1),
    ("03_transition", "transition.pair_corr.10000", 0.87, 1),
    ("03_transition_faces", "transition.beta_100.pair_corr.6000", 0.95, 1),
    ("03_transition_faces", "transition.pair_corr.6000", 0.9, 1),
    # dimmer than what they copy, each by another factor
    *(("03_transition", f"transition.norm_ratio.{n}", 0.6, 1) for n in (1, 10, 100, 1000, 10_000)),
    *(("03_transition", f"transition.norm_ratio_range.{n}", 0.1, 3) for n in (1, 10, 100)),
    ("03_transition_bfcnn", "transition.psnr_half_memorizer.10000", 19.5, 20.3),
    ("03_transition_bfcnn", "transition.psnr_half_network.10000", 19, 19.8),
    ("03_how_many", "many.gap.faces_16.1000", 0.1, 0.45),
    ("03_how_many", "many.gap.faces_24.1000", 0.5, 0.85),
    ("03_how_many", "many.gap.faces_32.1000", 0.75, 1.1),
    ("03_how_many", "many.gap.faces_32.6000", 0, 0.4),
    ("03_how_many", "many.gap.fashion.10000", 0.2, 0.7),
    ("04_fixed_bases", "bases.spectrum_exponent", 2.2, 3),
    ("04_fixed_bases", "bases.network_above_cyclespin", 0, 10),
    ("05_adaptive_bases", "gahb.linearity_error", 0, 1e-5),
    ("05_adaptive_bases", "gahb.posterior_pca_error", 0, 1e-6),
    ("05_adaptive_bases", "gahb.mean_uv", 0.8, 1),
    ("05_adaptive_bases", "gahb.asymmetry", 0.3, 0.8),
    ("05_adaptive_bases", "gahb.asymmetry_kept", 0.05, 0.2),
    ("05_adaptive_bases", "gahb.num_negative", 300, 460),
    ("05_adaptive_bases", "gahb.sum_negative", -20, -12),
    ("05_adaptive_bases", "gahb.least_factor", -0.55, -0.35),
    ("05_adaptive_bases_authors", "gahb.least_factor", -1, 0),
    ("05_photograph", "photograph.psnr.photographs.15", 32.5, 34),
    ("05_photograph", "photograph.psnr.photographs.25", 30, 32),
    ("05_photograph", "photograph.psnr.photographs.50", 27, 29),
    ("05_photograph", "photograph.psnr.digits.15", 24.6, 27),
    ("05_photograph", "photograph.factor.0", 1.6, 2.2),
    ("05_photograph", "photograph.factor.44", 1, 1.5),
    ("05_photograph", "photograph.num_above_one", 45, 45),
    *(
        ("06_c_alpha", f"c_alpha.slope.{a}", found - 0.02, found + 0.02)
        for a, found in enumerate((0.540, 0.599, 0.713, 0.763, 0.786), 1)
    ),
    *(("06_c_alpha", f"c_alpha.slope_wavelet.{a}", 0.4, 0.62) for a in range(1, 6)),
    *(("06_c_alpha", f"c_alpha.gap_to_oracle_db.{a}", -0.6, 0.4) for a in range(1, 4)),
    ("06_c_alpha", "c_alpha.gap_to_oracle_db.4", 0.5, 0.9),
    ("06_c_alpha", "c_alpha.gap_to_oracle_db.5", 1, 1.5),
    *(("06_c_alpha", f"c_alpha.gap_at.{a}.30", -1.3, 1.9) for a in range(1, 6)),
    ("06_c_alpha", "c_alpha.gahb_overlap", 0.4, 1),
    *(("07_manifolds", f"disks.exact_lambda.{k}", 0.7, 1.3) for k in range(5)),
    *(("07_manifolds", f"disks.exact_lambda.{k}", 0, 0.03) for k in range(5, 10)),
    *(("07_manifolds", f"disks.lambda.{k}", 0.9, 1.3) for k in range(5)),
    *(("07_manifolds", f"disks.lambda.{k}", 0.2, 0.9) for k in range(5, 10)),
    ("07_manifolds", "disks.tangent_angle_deg", 0, 40),
    ("07_manifolds", "disks.gap_to_mmse_db.10", 1, 5),
    ("07_manifolds", "disks.gap_to_mmse_db.30", 4, 12),
    ("07_manifolds", "disks.slope", 0.5, 1),
    ("07_manifolds", "ray.gain_db", 27, 31),
    ("07_shuffled", "shuffled.psnr_loss_db.10", 1, 6),
    ("07_shuffled", "shuffled.psnr_loss_db.20", 2, 8),
    ("07_shuffled", "shuffled.slope", 0.1, 0.4),
    ("07_shuffled", "shuffled.slope_faces", 0.38, 0.5),
    *(("08_receptive_fields", f"fields.side.{r}", r, r) for r in (5, 9, 13, 23, 43)),
    *(("08_receptive_fields", f"fields.mean_image_corr.pixel.{r}", -0.1, 0.25) for r in (5, 9, 13)),
    ("08_receptive_fields", "fields.mean_image_corr.pixel.43", 0.1, 0.4),
    *(("08_receptive_fields", f"fields.mean_image_corr.wavelet.{r}", 0.4, 0.65) for r in (5, 43)),
    *(("08_receptive_fields", f"fields.out_of_range.wavelet.{r}", 0, 0.04) for r in (5, 9, 43)),
    ("08_receptive_fields", "multiscale.gaussian_factorization_error", 0, 1e-9),
    ("08_receptive_fields", "multiscale.gaussian_covariance_error", 0, 1e-9),
    ("08_receptive_fields", "multiscale.window_cost_db.pixel.5", 0.3, 0.45),
    ("08_receptive_fields", "multiscale.window_cost_db.details.5", 0, 0.005),
    ("09_how_local", "local.rf9_loss_db_at_7.pixel", 0.98, 1.2),
    ("09_how_local", "local.rf9_loss_db_at_7.wavelet", -0.2, 0.2),
    ("09_how_local", "local.psnr.wavelet.9.7", 22.5, 23.5),
    ("09_how_local", "local.psnr.pixel.5.m8", 4, 7),
    ("09_how_local_c_alpha", "local.rf9_loss_db_at_7.pixel", 1.4, 1.9),
    ("09_how_local_c_alpha", "local.rf9_loss_db_at_7.wavelet", -0.2, 0.2),
    ("09_how_local_c_alpha", "local.psnr.wavelet.9.7", 23.9, 24.5),
    ("09_how_local_authors", "local.psnr_at_sigma.9.120", 21.4, 21.9),
    ("09_how_local_authors", "local.rf9_loss_db_at_7.pixel", 1, 2.5),
    ("09_how_local_authors", "local.rf9_loss_db_at_7.wavelet", -0.05, 0.2),
    ("09_how_local_authors", "local.psnr.wavelet.9.7", 23.5, 24.5),
    ("09_how_local_authors", "local.psnr.pixel.5.m8", 7, 9),
    *((f"10_synthesis{p}", "synthesis.iterations", 20, 130) for p in ("", "_c_alpha", "_authors")),
    *((f"10_synthesis{p}", "synthesis.one_over_mean", 1, 2) for p in ("", "_c_alpha", "_authors")),
    ("10_synthesis", "synthesis.detail_ratio", 0.75, 1.15),
    ("10_synthesis", "synthesis.spectrum_exponent_gap", -0.2, 0.2),
    ("10_synthesis_c_alpha", "synthesis.detail_ratio", 0.75, 1.15),
    ("10_synthesis_authors", "synthesis.seconds_per_image.160", 0, 30),
    ("10_synthesis_authors", "synthesis.parameters", 1_090_560, 30_993_152),
    *((f"11_inverse{p}", "inverse.measurement_error", 0, 1e-4) for p in INVERSE),
    *((f"11_inverse{p}", "inverse.noisy.misfit_over_sigma", 0.8, 1.2) for p in INVERSE[:2]),
    *((f"11_inverse{p}", "inverse.noisy.gain_db", 1, 12) for p in INVERSE[:2]),
    ("11_inverse", "inverse.gaussian_mean_error", 0, 0.1),
    ("11_inverse", "inverse.gaussian_cov_error", 0, 0.03),
    ("11_inverse", "inverse.gap_db.gaussian.exact.0.01", -0.05, 0.2),
    ("11_inverse", "inverse.coverage.gaussian.exact.0.01", 0.85, 0.95),
    ("11_inverse", "inverse.inpainting.fashion.psnr_mean", 27, 29),
    ("11_inverse", "inverse.x4.fashion.psnr_mean", 20, 22),
    ("11_inverse", "inverse.stranger.error_over_spread", 2, 6),
    ("11_inverse_faces", "inverse.inpainting.faces.psnr_mean", 29.5, 32),
    ("11_inverse_faces", "inverse.x4.faces.psnr_mean", 23, 24.5),
    ("12_local_theories", "theory.r.els.fashion_16", 0.85, 0.97),
    ("12_local_theories", "theory.r.ls.fashion_16", 0.85, 0.97),
    ("12_local_theories", "theory.r.ideal.fashion_16", 0.72, 0.87),
    ("12_local_theories", "theory.r.els.faces_16", 0.8, 0.96),
    ("12_local_theories", "theory.r.ideal.faces_16", 0.55, 0.8),
    ("12_local_theories", "theory.local_beats_ideal.fashion_16", 0.85, 1),
    ("12_local_theories", "theory.basis_overlap.els.fashion_16", 0.35, 0.55),
    ("12_local_theories", "theory.basis_overlap.other_network.fashion_16", 0.65, 0.85),
    ("12_local_theories", "theory.basis_overlap.random.fashion_16", 0.03, 0.08),
    ("13_blind", "blind.step_identity_error", 0, 1e-9),
    ("13_blind", "blind.sigma_sd.2", 1, 2.5),
    ("13_blind", "blind.sigma_sd.1000", 0.041, 0.05),
    ("13_blind", "blind.sigma_sd.disks", 0.035, 0.055),
    ("13_blind", "blind.v_minimum", 0.8, 1.25),
    ("13_blind", "blind.drift", 0.8, 1.25),
    ("13_blind", "blind.beta_best", 0.5, 0.8),
    ("13_blind", "blind.beta_error.50", 0.0014, 0.0024),
    ("13_blind", "blind.few_dimensions_error.2", 0.07, 0.2),
    ("13_blind", "blind.few_dimensions_error.100", 0, 0.06),
    ("samples_faces", "recipe.frechet_pca64.faces", 0.5, 4),
    ("samples_faces", "recipe.pair_corr.faces", 0.9, 1),
    ("samples_fashion", "recipe.frechet_pca64.fashion", 1, 6),
    ("samples_fashion", "recipe.pair_corr.fashion", 0.85, 1),
]


@pytest.fixture(scope="module")
def results(executed_pages):
    """Return a function from a page's name to its figures; it skips a page that lacks its data."""

    def get(name):
        page, places = PAGES[name], Places(ROOT)
        if not places.stamp(name).is_file() and places.executed(name).is_file():
            pytest.skip(f"{name} was not run: its data or checkpoints are not here (see above)")
        assert is_current(page, places), f"{name} failed: see above, mend it, `gahb run {name}`"
        return load_results(name, root=ROOT)

    return get


def numbers_in(value):
    """Return every number of a recorded value, as a flat list."""
    if isinstance(value, dict):
        value = list(value.values())
    return [n for v in value for n in numbers_in(v)] if isinstance(value, list) else [value]


def test_gahb_run_succeeds(executed_pages):
    assert executed_pages == 0, "a page failed: the report above says which, and what to do"


@pytest.mark.parametrize("name", PAGES)
def test_page_records_what_it_promises(results, name):
    recorded = results(name)
    missing = set(PAGES[name].records) - set(recorded)
    assert not missing, f"{name} does not record {sorted(missing)}"
    unlisted = set(recorded) - set(PAGES[name].records)
    assert not unlisted, f"list {sorted(unlisted)} under records of {name} in book/pages.yml"


@pytest.mark.parametrize(("page", "figure", "low", "high"), RANGES)
def test_figure_is_in_its_range(results, page, figure, low, high):
    values = numbers_in(results(page)[figure].value)
    assert values
    assert all(low <= v <= high for v in values), f"{figure} = {values} is not in [{low}, {high}]"


TRANSITIONS = [
    ("03_transition", 10, 10_000),
    ("03_transition_faces", 10, 6_000),
    ("03_transition_bfcnn", 10, 10_000),
    ("03_transition_c_alpha", 10, 100_000),
]


@pytest.mark.parametrize(("page", "few", "many"), TRANSITIONS)
def test_few_images_are_memorized_and_many_are_not(results, page, few, many):
    recorded = {name.removeprefix("transition."): r.value for name, r in results(page).items()}
    # few: copies of the own set, known far better than other images
    assert recorded[f"closest_corr.{few}"] > 0.97
    assert recorded[f"closest_corr_unseen.{few}"] < recorded[f"closest_corr.{few}"] - 0.1
    assert recorded[f"psnr_train.{few}.12"] > recorded[f"psnr_test.{few}.12"] + 10
    assert recorded[f"distance_memorizer.{few}"] < recorded[f"distance_other.{few}"] / 2
    # many: no trace of the own set, and the two networks agree
    assert abs(recorded[f"closest_corr.{many}"] - recorded[f"closest_corr_unseen.{many}"]) < 0.01
    assert recorded[f"psnr_train.{many}.12"] < recorded[f"psnr_test.{many}.12"] + 1
    assert recorded[f"distance_other.{many}"] < recorded[f"distance_memorizer.{many}"] / 2
    assert recorded[f"pair_corr.{many}"] > recorded[f"chance_corr.{many}"] + 0.2
    assert recorded[f"beta_100.pair_corr.{many}"] > recorded[f"beta_100.pair_corr.{few}"] + 0.1


@pytest.mark.parametrize("page", ["03_transition", "03_transition_faces"])
def test_the_change_lies_between_100_and_1000_images(results, page):
    own, other = (
        [results(page)[f"transition.{name}.{n}"].value for n in (100, 1000)]
        for name in ("closest_corr", "closest_corr_unseen")
    )
    assert own[0] > max(0.97, other[0] + 0.1)
    assert own[1] < other[1] + 0.03


@pytest.mark.parametrize("dataset", ["fashion", "faces"])
def test_the_mean_of_ten_solutions_beats_one_and_total_variation(results, dataset):
    page = results("11_inverse" if dataset == "fashion" else "11_inverse_faces")
    for task in ("inpainting", "x4"):
        tv, one, mean = (
            page[f"inverse.{task}.{dataset}.psnr_{way}"].value for way in ("tv", "sample", "mean")
        )
        assert mean > one + 0.8
        assert mean > tv + 0.5


def test_ranges_are_of_figures_that_are_promised():
    assert all(figure in PAGES[page].records for page, figure, _, _ in RANGES)
    assert all(low <= high and math.isfinite(low + high) for _, _, low, high in RANGES)


def test_every_notebook_is_a_page_and_every_page_is_in_the_contents():
    notebooks = set((ROOT / "book").glob("*.ipynb"))
    assert notebooks == {page.notebook for page in PAGES.values()}
    contents = (ROOT / "_toc.yml").read_text()
    missing = [name for name in PAGES if f"file: book/{name}\n" not in contents]
    assert not missing, f"add these pages to _toc.yml: {missing}"


def test_the_book_builds(built_book):
    assert (built_book / "index.html").is_file()


def test_numbers_are_found_in_any_value():
    assert numbers_in({"a": [1, 2], "b": 3.5}) == [1, 2, 3.5]
