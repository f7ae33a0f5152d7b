"""gahb_book: what makes a book of the chapters: plots, live figures, runs, pages, reports.

A room imports only from the rooms before it in `ROOMS`, and from `gahb_core`.
"""

from importlib.util import find_spec

ROOMS = (
    "places", "measured", "inputs", "record", "kept", "plots", "examine", "widgets", "browser",
    "chapters", "cluster", "run", "report", "site", "cli",
)  # fmt: skip

for _name in ("matplotlib", "papermill", "yaml"):
    if find_spec(_name) is None:
        raise ImportError(
            f"gahb_book needs the packages of the extra [book] ({_name} is not there): "
            "pip install 'gahb-core[book]'"
        )
