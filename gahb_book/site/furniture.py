"""A Sphinx extension: a page for wrong addresses, a map of the site, and previews of its links.

The map and the previews need the address that the book is published at, `html: baseurl` in
`_config.yml`; a book without one has neither.
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PREVIEW = "_static/readme.png"
NOT_FOUND = """<h1>No such page</h1>
<p>The book has no page at this address. Begin at its <a href="index.html">first page</a>, or
<a href="search.html">search</a> it.</p>"""

# what the builder writes, and what a screen reader is served better by
MENDED = {
    '<summary aria-label="Toggle hidden content">': "<summary>",  # its text says more
    ' role="doc-biblioentry"': "",
    '<div role="list" class="citation-list">': '<div class="citation-list">',
}


def mend(body: str) -> str:
    """Return the HTML of a page with the replacements of MENDED, empty heads of tables first."""
    body = re.sub(r'<th class="head">\s*(<p>\s*</p>)?\s*</th>', "<td></td>", body)
    for written, better in MENDED.items():
        body = body.replace(written, better)
    return body


def base_address(app: Sphinx) -> str:
    """Return the address of the published book, with a slash at its end, or an empty string."""
    base = (app.config.html_baseurl or "").rstrip("/")
    return f"{base}/" if base else ""


def first_words(doctree: nodes.document | None, most: int = 200) -> str:
    """Return the beginning of a page's first paragraph, cut between words."""
    if doctree is None:
        return ""
    first = next((p.astext() for p in doctree.findall(nodes.paragraph)), "")
    words = " ".join(first.split())
    return words if len(words) <= most else words[:most].rsplit(" ", 1)[0] + " …"


def _add_meta(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Add to a page's head what it says of itself, and to the 404 page where its links start."""
    base, about = base_address(app), first_words(doctree)
    tags = {"description": about} if about else {}
    rows = [f'<meta name="{k}" content="{html.escape(v)}">' for k, v in tags.items()]
    if base:
        title = nodes.unescape(context.get("title") or app.config.html_title)
        shown = {
            "og:type": "article",
            "og:site_name": app.config.html_title or app.config.project,
            "og:title": title,
            "og:description": about,
            "og:url": f"{base}{pagename}.html",
            "og:image": base + PREVIEW,
        }
        rows += [f'<meta property="{k}" content="{html.escape(v)}">' for k, v in shown.items() if v]
        rows.append('<meta name="twitter:card" content="summary">')
        if pagename == "404":  # it is served at any depth
            rows.insert(0, f'<base href="{html.escape(base)}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(rows)


def _mend_body(app: Sphinx, pagename: str, template: str, context: dict[str, Any], _: Any) -> None:
    if "body" in context:
        context["body"] = mend(context["body"])


def is_variant(page: str, pages: Iterable[str]) -> bool:
    """Return whether a page is a chapter once more: its name is another's, with more words.

    >>> is_variant("book/03_transition_faces", ["book/03_transition", "book/03_how_many"])
    True
    """
    return any(page.startswith(f"{other}_") for other in pages)


def find_neighbour(page: str, relations: Mapping[str, Sequence[str | None]], at: int) -> str | None:
    """Return the page before (`at` = 1) or after (2) another, but variants only beside variants.

    `relations` has parent, previous and next page of each, as Sphinx's builder does.
    """
    beside = relations[page][at] if page in relations else None
    if is_variant(page, relations):
        return beside
    while beside is not None and beside in relations and is_variant(beside, relations):
        beside = relations[beside][at]
    return beside


def _follow_argument(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], _: Any
) -> None:
    """Let "previous" and "next" of a chapter be chapters."""
    for key, at in (("prev", 1), ("next", 2)):
        beside = find_neighbour(pagename, getattr(app.builder, "relations", {}), at)
        if context.get(key) and beside in app.env.titles:
            builder: Any = app.builder
            title = builder.render_partial(app.env.titles[beside])["title"]
            context[key] = {"link": app.builder.get_relative_uri(pagename, beside), "title": title}


def _add_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "404", {"title": "No such page", "body": NOT_FOUND}, "page.html"


def _write_map(app: Sphinx, error: Exception | None) -> None:
    """Write sitemap.xml, when the address of the book is known and it was built."""
    base = base_address(app)
    if not base or error is not None or app.builder.format != "html":
        return
    pages = sorted(app.env.found_docs)
    urls = "".join(f"<url><loc>{html.escape(base + page)}.html</loc></url>\n" for page in pages)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    text = f'{head}<urlset xmlns="{space}">\n{urls}</urlset>\n'
    Path(app.outdir, "sitemap.xml").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is done at each page, and at the end."""
    app.connect("html-page-context", _add_meta)
    app.connect("html-page-context", _mend_body)
    app.connect("html-page-context", _follow_argument)
    app.connect("html-collect-pages", _add_pages)
    app.connect("build-finished", _write_map)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
