"""Site: the executed pages staged and built into the HTML book, its contents and its scripts."""

from gahb_book.site.book import build_book, stage_book
from gahb_book.site.contents import make_contents, page_heading, write_contents
