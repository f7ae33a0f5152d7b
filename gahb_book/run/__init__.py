"""Run: a page is a chapter with its parameters, executed by papermill when its inputs changed.

`book/pages.yml` lists the pages; `gahb run` executes them, several at once.
"""

from gahb_book.run.jobs import count_cores, run_processes, share_cores, term_as_interrupt
from gahb_book.run.listing import load_pages, load_prose
from gahb_book.run.outcomes import Outcome, format_report
from gahb_book.run.pages import run_pages
from gahb_book.run.spec import Page, select_pages
from gahb_book.run.stamp import page_fingerprint
from gahb_book.run.variants import make_variant, parse_variants
