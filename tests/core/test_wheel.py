"""The wheel by itself, in an empty folder, with no package but those that it declares."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# what `pip install` of the wheel alone would not bring cannot be imported
ALONE = """
import sys
class Filter:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        absent = name.split(".")[0] in {absent}
        return None if absent else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Filter, sys.meta_path)
WHEEL = {wheel!r}
sys.path.insert(0, WHEEL)
"""
SCIENCE = """
import math, gahb_core as gahb
assert gahb.__file__.startswith(WHEEL)
x = gahb.load_images("fashion", "test", 2, size=16)
f = gahb.wiener_denoiser
net = gahb.UNet(1, channels=(4, 8)).eval()
f = gahb.residual_denoiser(net)
y = gahb.add_noise(x, 0.1, 0)
assert gahb.psnr(f(y), x).shape == (2,)
pairs = gahb.top_eigenpairs(f, y[:1], num=3)
assert math.isfinite(gahb.estimate_trace(f, y[:1]).value)
memory = gahb.empirical_denoiser(x)
end = gahb.sample(memory, 2, (1, 16, 16), blind=False, sigma_end=0.1)
assert gahb.nearest_images(end.x, x).similarity.min() > 0
from gahb_core.training import folder
assert not folder().is_relative_to(WHEEL)
print("well")
"""


def declared(name, seen):
    """Add to `seen` the distributions that one needs, without extras, and theirs."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name in seen:
        return
    try:
        needs = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # of another system
        return
    seen.add(name)
    for need in needs:
        if "extra ==" not in need:
            declared(re.match(r"[\w.-]+", need).group(), seen)


def build_wheel(folder):
    """Build the wheel of this project from a copy: the builder leaves folders of its own."""
    source = folder / "source"
    for name in ("gahb_core", "gahb_book"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", source, "--no-deps", "-q", "-w", folder]
    subprocess.run([*command, "--no-build-isolation"], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The folder of the unpacked wheel: of the sources, or the one beside where they are not."""
    folder = tmp_path_factory.mktemp("wheel")
    if (ROOT / "gahb_core").is_dir():
        build_wheel(folder)
        (path,) = folder.glob("*.whl")
    else:  # the workflows `release` and `torch` try the wheel that they made
        (path,) = (p for name in ("release", "wheel") for p in ROOT.glob(f"{name}/*.whl"))
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def run_alone(wheel, tmp_path_factory):
    """A function that runs code where nothing but the wheel and what it declares is installed."""
    (info,) = wheel.glob("*.dist-info")
    text = (info / "METADATA").read_text()
    seen: set[str] = set()
    for need in re.findall(r"^Requires-Dist: (.*)$", text, re.M):
        if "extra ==" not in need:
            declared(re.match(r"[\w.-]+", need).group(), seen)
    owners = metadata.packages_distributions()
    norm = {m: {re.sub(r"[-_.]+", "-", d).lower() for d in ds} for m, ds in owners.items()}
    absent = {m for m, ds in norm.items() if not ds & seen and not m.startswith("gahb_")}
    place = tmp_path_factory.mktemp("empty")

    def run(code):
        start = ALONE.format(absent=sorted(absent), wheel=str(wheel))
        code = start + code
        return subprocess.run(
            [sys.executable, "-c", code], cwd=place, check=False, capture_output=True, text=True
        )

    return run


def test_the_wheel_alone_is_the_science(run_alone):
    done = run_alone(SCIENCE)
    assert done.stdout == "well\n", done.stderr


FETCHES = """
import os
from pathlib import Path
from gahb_core.training import load_denoiser, paths
from gahb_core.data import MissingData
try:
    load_denoiser("fashion/N=100/A")
    raise SystemExit("no address was asked for")
except MissingData as error:
    assert "GAHB_BOOK" in str(error)
os.environ["GAHB_BOOK"] = {address!r}
net = load_denoiser("fashion/N=100/A").net
assert paths("fashion/N=100/A")[0].is_relative_to({cache!r})
os.environ["GAHB_BOOK"] = "file:///nowhere"  # what is there is not asked for again
load_denoiser("fashion/N=100/A")
try:
    load_denoiser("fashion/N=10/A")  # listed with another hash
except (MissingData, ValueError) as error:
    print(type(error).__name__)
os.environ["GAHB_BOOK"] = {address!r}
try:
    load_denoiser("fashion/N=10/A")
except ValueError as error:
    assert "must have the SHA-256 0" in str(error)
    print("refused")
"""


def test_a_release_fetches_the_networks_that_it_lists(wheel, run_alone, tmp_path, monkeypatch):
    stem = "checkpoints/laptop/fashion/N=100/A"
    files = {
        name: hashlib.sha256((ROOT / "book" / name).read_bytes()).hexdigest()
        for name in (f"{stem}.safetensors", f"{stem}.card.json")
    }
    files |= {name.replace("N=100", "N=10"): "0" * 64 for name in files}
    listed = wheel / "gahb_core" / "data" / "published.json"
    monkeypatch.setenv("GAHB_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("GAHB_BOOK", raising=False)
    monkeypatch.delenv("GAHB_CHECKPOINTS", raising=False)
    listed.write_text(json.dumps({"address": "", "files": files}))
    try:
        address = (ROOT / "book").as_uri()
        done = run_alone(FETCHES.format(address=address, cache=str(tmp_path)))
    finally:
        listed.unlink()
    assert done.stdout.split() == ["MissingData", "refused"], done.stderr


def test_what_needs_an_extra_names_it(run_alone):
    done = run_alone("import gahb_book.cli")
    assert "pip install 'gahb-core[book]'" in done.stderr.splitlines()[-1]


def test_the_wheel_brings_no_test_page_or_checkpoint(wheel):
    names = {p.relative_to(wheel).parts[0] for p in wheel.rglob("*") if p.is_file()}
    assert {n for n in names if not n.endswith(".dist-info")} == {"gahb_core", "gahb_book"}
    size = sum(p.stat().st_size for p in wheel.rglob("*") if p.is_file())
    assert size < 12e6  # 9.8 MB are the garments
