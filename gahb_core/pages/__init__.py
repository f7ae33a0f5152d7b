"""Pages: a chapter with its parameters is run, its figures are recorded, the book is built.

`book/pages.yml` lists the pages; `gahb run` executes them and `gahb build` makes the HTML,
`gahb toc` its table of contents.
"""

from gahb_core.pages import tables
from gahb_core.pages.book import build_book, stage_book
from gahb_core.pages.claims import (
    CLAIM_RULE,
    SOURCES,
    Claim,
    Judged,
    count_claims,
    find_claim,
    format_claims,
    format_places,
    judge_claims,
    load_claims,
)
from gahb_core.pages.cluster import run_on_cluster, submit_jobs
from gahb_core.pages.contents import make_contents, page_heading, write_contents
from gahb_core.pages.jobs import heed_signals, run_processes, share_cores
from gahb_core.pages.listing import load_pages, load_prose
from gahb_core.pages.outcomes import Outcome, format_report
from gahb_core.pages.records import KEY, KINDS, mark_published, record
from gahb_core.pages.results import Result, collect_results, format_results, load_results
from gahb_core.pages.run import run_pages
from gahb_core.pages.serve import serve_book
from gahb_core.pages.spec import Page, Places, book_path, find_root, select_pages
from gahb_core.pages.stamp import page_fingerprint
from gahb_core.pages.summary import (
    RULE,
    VERDICTS,
    Control,
    Published,
    Row,
    compare,
    describe,
    find_published,
    format_ours,
    format_reasons,
    format_rows,
    load_news,
    load_published,
    summarize,
)
from gahb_core.pages.tickets import format_status
from gahb_core.pages.variants import make_variant, parse_variants

__all__ = [
    "CLAIM_RULE", "Claim", "Control", "Judged", "KEY", "KINDS", "Outcome", "Page", "Places",
    "Published", "RULE", "Result", "Row", "SOURCES", "VERDICTS", "book_path", "build_book",
    "collect_results",
    "compare", "count_claims", "describe", "find_claim", "find_published", "find_root",
    "format_claims", "format_ours", "format_places", "format_reasons", "format_report",
    "format_results", "format_rows", "format_status", "heed_signals", "judge_claims", "load_claims",
    "load_news", "load_pages", "load_prose", "load_published", "load_results", "make_contents",
    "make_variant", "mark_published", "page_fingerprint", "page_heading", "parse_variants",
    "record", "run_on_cluster", "run_pages", "run_processes", "select_pages", "serve_book",
    "share_cores", "stage_book", "submit_jobs", "summarize", "tables", "write_contents",
]  # fmt: skip
