"""What is released: one version, archives that can be made again, workflows that are pinned."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import yaml
from projects import ROOT

import gahb_core

spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
release = importlib.util.module_from_spec(spec)
spec.loader.exec_module(release)

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_version_is_one():
    version = release.read_version()
    assert gahb_core.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert json.loads((ROOT / "codemeta.json").read_text())["version"] == version
    release.check(f"v{version}")
    assert release.read_notes(version).strip()


@pytest.mark.parametrize("tag", ["1.0", "v99.0.0", ""])
def test_another_tag_is_refused(tag):
    with pytest.raises(SystemExit, match="the tag must be v"):
        release.check(tag)


def test_a_version_without_notes_is_refused():
    with pytest.raises(SystemExit, match="must have a section '## 99.0.0'"):
        release.read_notes("99.0.0")


def test_the_same_files_give_the_same_archive(tmp_path):
    made = []
    for name in "ab":
        folder = tmp_path / name
        (folder / "inner").mkdir(parents=True)
        for part in ("z.txt", "inner/é.txt") if name == "a" else ("inner/é.txt", "z.txt"):
            (folder / part).write_text(part, encoding="utf-8")
        target = tmp_path / f"out{name}" / "book.zip"
        target.parent.mkdir()
        release.zip_folder(folder, target)
        made.append(target.read_bytes())
        assert zipfile.ZipFile(target).namelist() == ["book/inner/é.txt", "book/z.txt"]
    assert made[0] == made[1]


@pytest.mark.verify
def test_packages_are_built_from_a_copy(tmp_path):
    """What lies in `build/` would get into the wheel."""
    before = {path.name for path in ROOT.iterdir()}
    release.build_packages(tmp_path)
    assert {path.name for path in ROOT.iterdir()} == before
    (wheel,), (sources,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"gahb_core", "gahb_book"}
    version = release.read_version()
    with tarfile.open(sources) as archive:
        root = f"gahb_core-{version}"
        assert {f"{root}/LICENSE", f"{root}/gahb_book/kept/store.py"} <= set(archive.getnames())


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The unpacked wheel of a release."""
    folder = tmp_path_factory.mktemp("released")
    release.build_packages(folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    return folder / "wheel"


def notebooks_alone():
    """Notebooks that read no figures of other pages, each once."""
    pages = yaml.safe_load((ROOT / "book" / "pages.yml").read_text(encoding="utf-8"))["pages"]
    return sorted({p["notebook"] for p in pages if "results" not in p.get("needs", {})})


@pytest.mark.verify
@pytest.mark.parametrize("name", notebooks_alone())
def test_a_notebook_runs_alone_with_the_wheel(name, released, tmp_path):
    """In an empty folder: networks and measurements are fetched, by hash, from an address."""
    shutil.copy(ROOT / "book" / name, tmp_path)
    cache = released.parent / "cache"
    environment = os.environ | {"PYTHONPATH": str(released), "XDG_CACHE_HOME": str(cache)}
    environment |= {"GAHB_BOOK": (ROOT / "book").as_uri(), "MPLBACKEND": "agg"}
    environment.pop("GAHB_CHECKPOINTS", None)
    words = [sys.executable, "-m", "papermill", "--no-progress-bar", name, "out.ipynb"]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "out.ipynb"])


@pytest.mark.verify
def test_the_wheel_is_tried_without_its_sources(tmp_path):
    """As the workflow does: `tests`, the files of the root, and the wheel in `release`."""
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    release.build_packages(out := tmp_path / "release")
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed := tmp_path / "installed")
    env = os.environ | {"PYTHONPATH": str(installed)}
    tests = "tests/core/test_wheel.py", "tests/core/test_noise.py"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_workflows_are_pinned_and_may_do_little(path):
    text = path.read_text()
    workflow = yaml.safe_load(text)
    for used in re.findall(r"uses: *(\S+)", text):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", used), f"{used} must be pinned by its commit"
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job or {"environment"} & set(job)
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
            written = re.findall(r"\$\{\{ *(?:github|inputs|matrix)[^}]*\}\}", step.get("run", ""))
            assert not written, "what others may write reaches a shell through env, not as text"


def test_a_citation_has_what_one_cites():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "abstract", "license"} <= citation.keys()
    for reference in citation["references"]:
        assert {"title", "authors", "year", "url"} <= reference.keys()
