"""Report: what pages recorded, beside what is published, and over batches of variants."""

from gahb_book.report.claims import (
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
from gahb_book.report.results import Result, collect_results, format_results, load_results
from gahb_book.report.seeds import find_ranges, format_page, format_pages, load_seeds
from gahb_book.report.summary import (
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
