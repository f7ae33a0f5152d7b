"""What a release consists of: `make` gathers it in _build/release, `check TAG` asks before that.

The wheel and the sources, the book as it is read offline (HTML, PDF), its executed notebooks, the
networks, the notes of the changelog, and the SHA-256 of each. Needs nothing but Python and pip.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "_build" / "release"
ARCHIVES = {  # name → folder, what must lie there, and how it is made
    "html": ("_build/html", "index.html", "make book"),
    "notebooks": ("_build/executed", "01_tweedie.ipynb", "make book"),
    "checkpoints": ("book/checkpoints/laptop", "disks.safetensors", "git checkout"),
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same archive


def read_version() -> str:
    """Return the version, which stands in pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]


def read_notes(version: str) -> str:
    """Return the section of the changelog on a version.

    Raises:
        SystemExit: where there is none.
    """
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if not found:
        sys.exit(f"CHANGELOG.md must have a section '## {version}'")
    return found[1].strip() + "\n"


def check(tag: str) -> None:
    """Raise SystemExit unless a tag is the version, as CITATION.cff and the changelog have it."""
    version = read_version()
    if tag != f"v{version}":
        sys.exit(f"the tag must be v{version}, the version in pyproject.toml, not {tag}")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    if f"\nversion: {version}\n" not in citation:
        sys.exit(f"CITATION.cff must have version: {version}")
    read_notes(version)


def zip_folder(folder: Path, target: Path) -> None:
    """Write a folder's files to an archive, in order and without times."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(f"{target.stem}/{path.relative_to(folder).as_posix()}", EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes())


def list_published(tree: Path) -> None:
    """Write the list by which the library fetches the book's networks and measurements."""
    book = tree / "book"
    found = [p for name in ("checkpoints", "measured") for p in sorted((book / name).rglob("*.*"))]
    files = {p.relative_to(book).as_posix(): p for p in found if p.is_file()}
    listed = {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in files.items()}
    text = json.dumps({"address": os.environ.get("GAHB_BOOK", ""), "files": listed}, indent=1)
    (tree / "gahb_core" / "data" / "published.json").write_text(text + "\n", encoding="utf-8")


def build_packages(out: Path) -> None:
    """Build the wheel and the sources, from a copy: what was built before is in neither."""
    others = ".*", "_build", "build", "node_modules", "__pycache__", "*.egg-info"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*others))
        list_published(tree)
        pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, "."]
        subprocess.run(pip, check=True, cwd=tree)
        sdist = f"from setuptools import build_meta; build_meta.build_sdist({str(out)!r})"
        said = subprocess.DEVNULL
        subprocess.run([sys.executable, "-c", sdist], check=True, cwd=tree, stdout=said)


def make() -> None:
    """Gather the release.

    Raises:
        SystemExit: where a part has not been made, with what makes it.
    """
    version = read_version()
    for folder, probe, how in ARCHIVES.values():
        if not (ROOT / folder / probe).is_file():
            sys.exit(f"{folder}/{probe} is missing: {how}")
    OUT.mkdir(parents=True, exist_ok=True)
    for path in OUT.iterdir():
        path.unlink()
    build_packages(OUT)
    for name, (folder, _, _) in ARCHIVES.items():
        zip_folder(ROOT / folder, OUT / f"gahb-{version}-{name}.zip")
    pdf = ROOT / "_build" / "pdf" / "book.pdf"
    if pdf.is_file():
        (OUT / f"gahb-{version}.pdf").write_bytes(pdf.read_bytes())
    (OUT / "NOTES.md").write_text(read_notes(version), encoding="utf-8")
    files = sorted(OUT.iterdir())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files]
    (OUT / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")
    for path in files:
        print(f"{path.stat().st_size / 1e6:7.2f} MB  {path.name}")


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        make()
    elif sys.argv[1:2] == ["check"] and len(sys.argv) == 3:
        check(sys.argv[2])
    else:
        sys.exit("usage: release.py make | check TAG")
