"""gahb_book: what makes a book of the chapters: plots, live figures, runs, pages, reports.

A room imports only from the rooms before it in `ROOMS`, and from `gahb_core`.
"""

ROOMS = (
    "places", "inputs", "record", "plots", "widgets", "browser", "chapters", "cluster", "run",
    "report", "site", "cli",
)  # fmt: skip
