"""The tables of recipes."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from extras import needs_book
from torch.utils.flop_counter import FlopCounterMode

from gahb_core.data import MissingData, open_images
from gahb_core.networks.models import num_parameters
from gahb_core.training import GPU_RATE, RECIPES, as_in_papers, count_flop, make_network
from gahb_core.training.loop import _State, _take_step, make_batch


@pytest.mark.parametrize("name", RECIPES["smoke"])
def test_a_recipe_takes_a_step_in_its_smoke_form(name):
    recipe = replace(RECIPES["smoke"][name], batch_size=2)
    try:
        images = open_images(recipe.dataset, recipe.split, recipe.num, recipe.size)
    except MissingData as error:
        pytest.skip(str(error))
    state = _State(make_network(recipe), recipe, "cpu")
    loss = _take_step(state, make_batch(recipe, images, 0))
    assert 0 < float(loss) < torch.inf
    assert all(torch.isfinite(v).all() for v in state.net.state_dict().values())
    assert all(w.grad is not None and torch.isfinite(w.grad).all() for w in state.net.parameters())


@pytest.mark.parametrize("profile", RECIPES)
def test_a_recipe_is_found_by_its_name(profile):
    assert all(recipe.name == name for name, recipe in RECIPES[profile].items())


@pytest.mark.parametrize("dataset", ["celeba", "lsun"])
def test_networks_of_the_papers_differ_in_their_images_alone(dataset):
    table = {n: r for n, r in RECIPES["paper"].items() if n.startswith(f"{dataset}/N=")}
    nums = [1, 10, 100, 1_000, 10_000, 100_000]
    assert sorted(table) == sorted(f"{dataset}/N={n}/{s}" for n in nums for s in "AB")
    for name, recipe in table.items():
        assert name == f"{dataset}/N={recipe.num}/{recipe.split}"
        assert (recipe.size, recipe.batch_size, recipe.num_steps) == (80, 512, 488_000)
        assert recipe == as_in_papers(recipe)
        assert recipe.seed == 0  # the same initial weights


def test_network_of_the_papers_has_their_number_of_parameters():
    net = make_network(RECIPES["paper"]["celeba/N=1/A"])
    assert num_parameters(net) == 7_659_264


def test_paper_profile_has_the_c_alpha_images_of_chapter_3():
    for num in (10, 100_000):
        for split in "AB":
            recipe = RECIPES["paper"][f"c_alpha/alpha=2/N={num}/{split}"]
            assert (recipe.num, recipe.split, recipe.size) == (num, split, 80)


@needs_book
@pytest.mark.parametrize("profile", ["paper", "gpu"])
def test_every_page_has_its_networks_at_the_papers_size(profile):
    from gahb_book.places import find_root
    from gahb_book.run import load_pages

    needed = {name for page in load_pages(find_root()) for name in page.checkpoints}
    assert needed <= set(RECIPES[profile])


def test_both_profiles_of_the_papers_size_hold_the_same_networks():
    assert list(RECIPES["paper"]) == list(RECIPES["gpu"])
    for name, recipe in RECIPES["gpu"].items():
        other = RECIPES["paper"][name]
        for field in ("dataset", "num", "size", "level", "channels", "architecture"):
            assert getattr(recipe, field) == getattr(other, field), (name, field)


NETWORKS = [
    "fashion/N=1/A", "told/fashion/N=10000/A", "celeba/size=20/N=1/A", "celeba/size=160/N=1/A",
    "bfcnn/celeba/N=10/A", "local/faces/pixel/RF=5", "local/c_alpha/size=320/details=3/RF=13",
    "local/c_alpha/low", "transformer/fashion/N=10000/A",
]  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_operations_are_those_that_torch_counts(name):
    recipe = RECIPES["gpu"][name]
    net = make_network(recipe).to("meta")
    channels = 4 if recipe.bands == "details" else 1 + recipe.told_sigma
    side = recipe.size >> recipe.level
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.empty(1, channels, side, side, device="meta"))
    assert counter.get_total_flops() == count_flop(recipe)


def test_networks_of_the_profile_gpu_take_an_hour_at_most():
    for name, recipe in RECIPES["gpu"].items():
        passes = 9 if recipe.architecture == "energy" else 3
        images = recipe.batch_size * recipe.num_steps
        assert passes * count_flop(recipe) * images <= 3600 * GPU_RATE, name
        assert images >= 128_000, name


def test_the_library_is_imported_without_what_few_need():
    """Counting operations, and what SciPy solves by products, took half of a page's start."""
    code = (
        "import sys, gahb_core.training, gahb_core.jacobian, gahb_core.sampling\n"
        "print(*(m for m in ('torch._dynamo', 'scipy.sparse') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()
    assert len(RECIPES["gpu"]) == len(RECIPES["paper"]) > len(RECIPES["laptop"])
