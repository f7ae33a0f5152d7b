"""The book as one file: the articles of the built pages behind one another, printed by Chromium.

    python -m gahb_book.site.pdf

Figures that move are printed as their first picture, and code that is folded is left out.
"""

import html
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from bs4 import BeautifulSoup, Tag

from gahb_book.places import Places, find_root
from gahb_core.files import write_safely

LEFT_OUT = (
    "script, button, .headerlink, .gahb-controls, img[hidden], .prev-next-area, details.hide, "
    "iframe, canvas, input, .gahb-live-controls"
)
STYLE = """
@page { size: A4; margin: 18mm 16mm 20mm; }
html, body { background: #fff; font-size: 10.5pt; }
article { break-before: page; }
article img { max-width: 100%; height: auto; }
article pre { white-space: pre-wrap; font-size: 8.5pt; break-inside: auto; }
article table { font-size: 8.5pt; width: 100%; table-layout: auto; overflow-wrap: anywhere; }
article .gahb-figure, .sd-card { break-inside: avoid; }
.gahb-map .sd-row > .sd-col { flex: 0 0 50%; width: 50%; max-width: 50%; }
.gahb-wide, .math, .gahb-frames { overflow: visible !important; }
nav.contents li { margin: 0.15rem 0; list-style: none; }
nav.contents .part { margin-top: 0.8rem; font-weight: 700; }
"""
READY = "() => window.MathJax?.startup?.promise?.then(() => true) ?? true"


def _files(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the pages of a list of the contents, those indented under another after it."""
    for entry in entries:
        yield entry["file"]
        yield from _files(entry.get("sections", []))


def list_contents(toc: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the parts of the contents with the names of their pages, the front page first."""
    parts = toc.get("parts") or [{"caption": "", "chapters": toc.get("chapters", [])}]
    return [("", [toc["root"]]), *((p["caption"], list(_files(p["chapters"]))) for p in parts)]


def _target(link: str, page: str, pages: set[str]) -> str:
    """Return where a link of a page leads in the one file; other links as they are."""
    path, mark, anchor = link.partition("#")
    if "://" in path or path.startswith("mailto:"):
        return link
    folder = page.rpartition("/")[0]
    other = os.path.normpath(f"{folder}/{path}").removesuffix(".html") if path else page
    if other not in pages:
        return os.path.normpath(f"{folder}/{path}") + mark + anchor
    return f"#{other}--{anchor}" if anchor else f"#{other}"


def take_article(text: str, page: str, pages: set[str]) -> tuple[Tag, str]:
    """Return the article of a built page as it stands in the one file, and its title.

    Identifiers get the page's name before them, since two pages may use the same.
    """
    soup = BeautifulSoup(text, "html.parser")
    article = soup.select_one("article.bd-article") or soup.select_one("article")
    if article is None:
        raise ValueError(f"{page} must be a built page with an article: build the book again")
    for left in article.select(LEFT_OUT):
        left.decompose()
    for tag in article.select("[id]"):
        tag["id"] = f"{page}--{tag['id']}"
    for tag in article.select("a[href]"):
        tag["href"] = _target(str(tag["href"]), page, pages)
    for tag in article.select("img[src]"):
        if not str(tag["src"]).startswith("data:"):
            tag["src"] = _target(str(tag["src"]), page, set())
    article["id"] = page
    head = article.select_one("h1")
    return article, head.get_text().strip() if head else page


def _head(text: str) -> str:
    """Return style sheets and MathJax of the front page, as they are found from the top."""
    soup = BeautifulSoup(text, "html.parser")
    kept = [str(t) for t in soup.select('link[rel="stylesheet"]')]
    kept += [str(t) for t in soup.select("script") if "mathjax" in str(t).lower()]
    return "\n".join(kept).replace('"../', '"')


def join_pages(folder: Path, contents: list[tuple[str, list[str]]], address: str) -> str:
    """Return the HTML of the whole book in one file: contents, then the articles in their order.

    Args:
        folder: of the built HTML.
        contents: as `list_contents` gives them.
        address: of the file itself, for its own links.
    """
    pages = [page for _, names in contents for page in names]
    texts = {page: (folder / f"{page}.html").read_text(encoding="utf-8") for page in pages}
    found = {page: take_article(text, page, set(pages)) for page, text in texts.items()}
    lines = []
    for caption, names in contents:
        lines += [f'<li class="part">{html.escape(caption)}</li>'] if caption else []
        lines += [f'<li><a href="#{n}">{html.escape(found[n][1])}</a></li>' for n in names]
    first, *others = (str(article) for article, _ in found.values())
    title = BeautifulSoup(texts[pages[0]], "html.parser").select("title")[0].get_text()
    return (
        f'<!doctype html><html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><base href="{folder.resolve().as_uri()}/">'
        f"<title>{html.escape(title)}</title>{_head(texts[pages[0]])}<style>{STYLE}</style></head>"
        f'<body><main class="bd-content"><div class="bd-article">{first}'
        f'<nav class="contents"><h2>Contents</h2><ul>{"".join(lines)}</ul></nav>'
        f"{''.join(others)}</div></main></body></html>"
    ).replace('href="#', f'href="{address}#')  # else they would lead to the base


def print_page(source: Path, target: Path) -> None:
    """Print an HTML file to a PDF of numbered pages, with an outline.

    Raises:
        FileNotFoundError: without a Chromium.
    """
    from playwright.sync_api import sync_playwright  # here: only this needs it

    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = os.environ.get("GAHB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        raise FileNotFoundError("no Chromium here: install one, or set GAHB_CHROMIUM")
    foot = (
        '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span>'
        " / <span class='totalPages'></span></div>"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(source.resolve().as_uri(), wait_until="load")
        page.evaluate(READY)
        page.pdf(
            path=target, format="A4", print_background=True, outline=True, tagged=True,
            display_header_footer=True, header_template="<span></span>", footer_template=foot,
            margin={"top": "16mm", "bottom": "18mm", "left": "15mm", "right": "15mm"},
        )  # fmt: skip
        browser.close()


def print_book(places: Places) -> Path:
    """Return the PDF of the built book.

    Raises:
        FileNotFoundError: where the book is not built, or without a Chromium.
    """
    if not (places.html / "index.html").is_file():
        raise FileNotFoundError("the book is not built: run `gahb build`")
    toc = yaml.safe_load((places.root / "_toc.yml").read_text(encoding="utf-8"))
    joined, printed = places.build / "pdf" / "book.html", places.build / "pdf" / "book.pdf"
    write_safely(joined, join_pages(places.html, list_contents(toc), joined.resolve().as_uri()))
    print_page(joined, printed)
    return printed


if __name__ == "__main__":
    try:
        print(print_book(Places(find_root())))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"gahb: {error}")
