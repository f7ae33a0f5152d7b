"""The book as one file: what is joined, and that Chromium prints it."""

import pytest
from browser import find_chromium
from bs4 import BeautifulSoup

from gahb_book.places import Places
from gahb_book.site.pdf import join_pages, list_contents, print_book, take_article

ONE = """<html><head><title>T</title><link rel="stylesheet" href="../_static/a.css"></head><body>
<article class="bd-article"><section id="one"><h1>One<a class="headerlink" href="#one">#</a></h1>
<p id="p">Text, <a href="two.html#p">there</a>, <a href="#p">here</a>,
<a href="https://a.org/x.html#p">out</a></p>
<figure><div class="gahb-controls">slider</div><img src="../_images/a.png" alt="first">
<img hidden src="../_images/b.png" alt="second"></figure></section></article></body></html>"""
TWO = ONE.replace("One", "Two").replace("two.html", "one.html").replace('"one"', '"two"')


@pytest.fixture
def folder(tmp_path):
    book = tmp_path / "_build" / "html" / "book"
    book.mkdir(parents=True)
    (book / "one.html").write_text(ONE)
    (book / "two.html").write_text(TWO)
    (book.parent / "index.html").write_text("")
    (tmp_path / "_toc.yml").write_text(
        "root: book/one\nparts:\n- caption: Part\n  chapters:\n  - file: book/two\n"
    )
    return book.parent


def test_an_article_keeps_its_first_picture_and_links_within_the_file():
    article, title = take_article(ONE, "book/one", {"book/one", "book/two"})
    assert title == "One"
    assert [img["alt"] for img in article.select("img")] == ["first"]
    assert article.select_one("img")["src"] == "_images/a.png"
    assert "slider" not in article.get_text()
    links = [a["href"] for a in article.select("p a")]
    assert links == ["#book/two--p", "#book/one--p", "https://a.org/x.html#p"]


def test_a_page_that_is_none_is_refused():
    with pytest.raises(ValueError, match="book/one must be a built page with an article"):
        take_article("<html></html>", "book/one", set())


def test_contents_are_in_order_with_what_is_indented():
    chapters = [{"file": "b", "sections": [{"file": "c"}]}, {"file": "d"}]
    toc = {"root": "a", "parts": [{"caption": "P", "chapters": chapters}]}
    assert list_contents(toc) == [("", ["a"]), ("P", ["b", "c", "d"])]


def test_every_link_of_the_joined_file_has_its_target(folder):
    contents = [("", ["book/one"]), ("Part", ["book/two"])]
    soup = BeautifulSoup(join_pages(folder, contents, "file:///b.html"), "html.parser")
    names = [tag["id"] for tag in soup.select("[id]")]
    assert len(names) == len(set(names))
    inner = [a["href"].partition("#")[2] for a in soup.select("a") if "b.html#" in a["href"]]
    assert len(inner) == 6  # two of the contents, two on each page
    assert set(inner) <= set(names)


def test_a_book_that_is_not_built_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="the book is not built"):
        print_book(Places(tmp_path))


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_the_file_is_printed(folder):
    pdf = print_book(Places(folder.parents[1])).read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert b"/Count 2" in pdf or pdf.count(b"/Type /Page\n") >= 2
