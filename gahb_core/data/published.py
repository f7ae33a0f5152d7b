"""Files of the book for a library that was installed without its clone: fetched, and by hash.

A release holds the list of the book's networks and measurements (`.ci/release.py` writes it): name
→ SHA-256, and the address of the folder that they are in, which GAHB_BOOK replaces.
"""

import hashlib
import json
import os
from pathlib import Path
from urllib.parse import quote

from gahb_core.data.files import MissingData, download
from gahb_core.files import write_safely

ADDRESS = "GAHB_BOOK"
LIST = Path(__file__).with_name("published.json")


def fetch_published(name: str, target: Path) -> bool:
    """Return whether `target` is a file of the release's book, which is fetched if it is not yet.

    Args:
        name: in the folder `book/`, such as "measured/seeds.json".
        target: where it goes; what is there and has the hash of the list stays.

    Raises:
        MissingData: where it cannot be had: there is no address, or nothing at it.
        ValueError: where what is at the address has another hash than the release lists.
    """
    if not LIST.is_file():  # a clone, or a wheel that is no release
        return False
    listed = json.loads(LIST.read_text(encoding="utf-8"))
    if name not in listed["files"]:
        return False
    sha256 = listed["files"][name]
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
        return True
    cure = f"set {ADDRESS} to the address of the book's folder book/, or work in a clone"
    address = os.environ.get(ADDRESS) or listed["address"]
    if not address:
        raise MissingData(f"{name} of the book is not on this machine: {cure}")
    content = download(f"{address.rstrip('/')}/{quote(name)}", cure)
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise ValueError(f"{address}: {name} must have the SHA-256 {sha256}, not {found}: {cure}")
    write_safely(target, content)
    return True
