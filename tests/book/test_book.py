"""Every page runs, records what it promises, in its ranges, and is in the contents."""

import ast
import json
from functools import cache
from types import SimpleNamespace

import pytest
from projects import ROOT, asked_pages

from gahb_book.places import Places
from gahb_book.report import load_results, load_seeds
from gahb_book.report.batches import flatten
from gahb_book.run import load_pages, load_prose, run_pages
from gahb_book.run.pages import is_current
from gahb_book.site import make_contents
from gahb_book.site.contents import chapter_number

PAGES = {page.name: page for page in load_pages(ROOT)}

run = pytest.mark.pages


@pytest.fixture(scope="module")
def results(executed_pages):
    """Return a function from a page's name to its figures; it skips a page that lacks its data."""

    @cache
    def get(name):
        page, places = PAGES[name], Places(ROOT)
        if not places.stamp(name).is_file() and places.executed(name).is_file():
            pytest.skip(f"{name} was not run: its data or checkpoints are not here (see above)")
        assert is_current(page, places), f"{name} failed: see above, mend it, `gahb run {name}`"
        return load_results(name, root=ROOT)

    return get


def numbers_in(value):
    """Return every number of a recorded value, as a flat list."""
    return [number for _, number in flatten("", value)]


@run
def test_gahb_run_succeeds(executed_pages):
    assert executed_pages == 0, "a page failed: the report above says which, and what to do"


@run
@pytest.mark.parametrize("page", PAGES)
def test_page_records_what_it_promises(results, page):
    recorded = results(page)
    missing = set(PAGES[page].records) - set(recorded)
    assert not missing, f"{page} does not record {sorted(missing)}"
    unlisted = set(recorded) - set(PAGES[page].records)
    assert not unlisted, f"list {sorted(unlisted)} under records of {page} in book/pages.yml"


@run
@pytest.mark.parametrize("page", PAGES)
def test_figures_are_in_their_ranges(results, page):
    recorded, wrong = results(page), []
    for figure, (low, high) in PAGES[page].ranges.items():
        values = numbers_in(recorded[figure].value)
        if not values or not all(low <= v <= high for v in values):
            wrong.append(f"{figure} = {values} is not in [{low}, {high}]")
    assert not wrong, "\n".join(wrong)


def test_no_seed_leaves_the_range_of_a_figure():
    """A range that another seed leaves is that of one draw, and so is what it supports."""
    seeds = load_seeds(ROOT / "book" / "measured" / "seeds.json")
    assert seeds.keys() <= PAGES.keys()
    beyond = [
        f"{page}: {figure} in [{low}, {high}]: {seeds[page][figure]}"
        for page in seeds
        for figure, (low, high) in PAGES[page].ranges.items()
        if not all(low <= v <= high for v in numbers_in(seeds[page].get(figure, [])))
    ]
    assert not beyond, "\n".join(beyond)


TRANSITIONS = [
    ("03_transition", 10, 10_000),
    ("03_transition_faces", 10, 6_000),
    ("03_transition_bfcnn", 10, 10_000),
    ("03_transition_c_alpha", 10, 100_000),
]


@run
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


@run
@pytest.mark.parametrize("page", ["03_transition", "03_transition_faces"])
def test_the_change_lies_between_100_and_1000_images(results, page):
    own, other = (
        [results(page)[f"transition.{name}.{n}"].value for n in (100, 1000)]
        for name in ("closest_corr", "closest_corr_unseen")
    )
    assert own[0] > max(0.97, other[0] + 0.1)
    assert own[1] < other[1] + 0.03


@run
@pytest.mark.parametrize(
    ("page", "dataset"), [("11_inverse", "fashion"), ("11_inverse_faces", "faces")]
)
def test_the_mean_of_solutions_beats_one_and_total_variation(results, page, dataset):
    found = results(page)
    for task in ("inpainting", "x4"):
        tv, one, mean = (
            found[f"inverse.{task}.{dataset}.psnr_{way}"].value for way in ("tv", "sample", "mean")
        )
        assert mean > one + 0.8
        assert mean > tv + 0.5


@run
@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_the_ramp_makes_samples_surer_of_the_right_mean(results, prior):
    found = results("11_inverse")

    def row(figure, step):
        names = [
            f"inverse.exact.{figure}.{step}.{prior}.{beta}" for beta in ("0.1", "0.03", "0.01")
        ]
        return [found[name].value for name in names]

    for step in ("fixed", "ramp"):  # the mean is as good with both
        assert row("gap_db", step)[0] > 0.25
        assert row("gap_db", step)[2] < 0.1
    assert row("variance", "ramp")[2] < 0.65 < 0.9 < row("variance", "fixed")[2]
    covered = row("coverage", "ramp")
    assert covered[0] > covered[1] + 0.15
    assert covered[1] > covered[2]
    assert min(row("coverage", "fixed")) > 0.75


@run
def test_the_book_builds(built_book):
    assert (built_book / "index.html").is_file()


# --- the list of pages, without running any -------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_record_has_its_range(page):
    bare = [name for name in PAGES[page].records if name not in PAGES[page].ranges]
    assert not bare, f"give {bare} of {page} a range in book/pages.yml: `- name: [low, high]`"


def test_every_notebook_is_a_page():
    notebooks = set((ROOT / "book").glob("*.ipynb"))
    assert notebooks == {page.notebook for page in PAGES.values()}


def test_what_a_reader_moves_is_shown():
    """A figure that `explore_…` or `live_…` returns is the value of its cell, or it is lost."""
    made = ("explore_", "live_")
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        for cell in json.loads(path.read_text())["cells"]:
            if cell["cell_type"] != "code":
                continue
            body = ast.parse("".join(cell["source"])).body
            dropped = [
                node.lineno
                for node in ast.walk(ast.Module(body, []))
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
                if getattr(node.value.func, "attr", "").startswith(made) and node is not body[-1]
            ]
            assert not dropped, f"{path.name}: shown by nobody: {cell['source'][dropped[0] - 1]}"


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_page_takes_profile_seed_and_device(path):
    """So that one `gahb run -p device=cuda` runs them all."""
    cells = json.loads(path.read_text())["cells"]
    (given,) = [
        "".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", [])
    ]
    names = [line.partition(" = ")[0] for line in given.splitlines()]
    assert names[:3] == ["profile", "seed", "device"]


def test_the_contents_are_those_of_the_pages():
    made = make_contents(list(PAGES.values()), load_prose(ROOT))
    assert (ROOT / "_toc.yml").read_text() == made, "run `gahb toc`"
    prose = {path.stem for path in (ROOT / "book").glob("*.md")} - {"index"}
    assert set(load_prose(ROOT)) == prose, "list every text of book/ under prose in book/pages.yml"


def test_chapters_are_counted_as_they_are_named():
    numbers = [chapter_number(name) for name in PAGES]
    counted = list(dict.fromkeys(n for n in numbers if n))
    assert counted == list(range(1, len(counted) + 1))


def test_only_the_pages_that_are_asked_for_are_run():
    def item(fixtures, **params):
        return SimpleNamespace(fixturenames=fixtures, callspec=SimpleNamespace(params=params))

    names = ["02_sampling", "01_tweedie", "02_sampling"]
    two = [item(["results", "executed_pages"], page=name) for name in names]
    plain = SimpleNamespace(fixturenames=["tmp_path"])
    assert asked_pages([*two, plain]) == ["02_sampling", "01_tweedie"]
    built = [item(["built_book", "executed_pages"], path=f"book/{n}.html") for n in names[1:]]
    assert asked_pages(built) == ["01_tweedie", "02_sampling"]
    assert asked_pages([*two, SimpleNamespace(fixturenames=["executed_pages"])]) == []  # all
    assert asked_pages([*two, item(["built_book", "executed_pages"], path="index.html")]) == []


def test_the_template_of_a_chapter_is_a_page(project):
    text = (ROOT / "book" / "_templates" / "chapter.ipynb").read_text()
    (project / "book" / "chapter.ipynb").write_text(text)
    with (project / "book" / "pages.yml").open("a") as file:
        file.write("  - {name: 01_new, notebook: chapter.ipynb, parameters: {num: 500},\n")
        file.write("     records: [chapter.mse: [0, 0.04]]}\n")
    places = Places(project)
    assert [o.status for o in run_pages(places, ["01_new"], num_jobs=1, say=print)] == ["ok"]
    page = next(page for page in load_pages(project) if page.name == "01_new")
    recorded = load_results("01_new", root=project)
    assert set(recorded) == set(page.records)
    low, high = page.ranges["chapter.mse"]
    assert all(low <= v <= high for v in numbers_in(recorded["chapter.mse"].value))
    made = places.executed("01_new").read_text()
    assert made.count("<figure") == 2  # a figure, and a flipbook, each with its alternative text
    assert all(word in text for word in ("{exercise}", "{solution-start}", ":class: dropdown"))
    assert text.index("What this shows, and what it does not") > text.index("{solution-end}")
