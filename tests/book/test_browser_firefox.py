"""The front page, the live figures, a flipbook and the theme in a second engine."""

import pytest
from browser import serve
from firefox import find_firefox, firefox
from test_book_browser import DEMO, demo_html  # noqa: F401
from test_browser_figures import CHAPTERS, built  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.verify]


@pytest.fixture(scope="module")
def window():
    """A window of a Firefox."""
    path = find_firefox() or pytest.skip("no Firefox on this machine: apt install firefox-esr")
    with firefox(path) as opened:
        yield opened


@pytest.fixture(params=["file", "http"])
def place(request):
    """A function of a folder: its address, as a file or by a server."""
    servers = []

    def address(folder):
        if request.param == "file":
            return folder.as_uri() + "/"
        servers.append(serve(folder))
        return servers[-1].__enter__()

    yield address
    for server in servers:
        server.__exit__(None, None, None)


SHOWN = """[...document.querySelectorAll('.gahb-live-stage canvas')].map(c => c.toDataURL()).join()
    + [...document.querySelectorAll('.gahb-live-chart')].map(c => c.innerHTML).join()"""


@pytest.mark.parametrize("name", ["front", *CHAPTERS])
def test_a_live_figure_moves(window, place, built, name):  # noqa: F811
    index = 0 if name == "front" else 2 + list(CHAPTERS).index(name)
    _, label, said = CHAPTERS.get(name, (None, None, "products"))
    window.complaints.clear()
    window.open(f"{place(built)}book/{index}.html")
    window.wait_for("document.querySelector('.gahb-live-stage')")
    before = window.run(f"() => {SHOWN}")
    if name == "front":
        window.run("() => document.querySelector('.gahb-live-thumb').click()")
    elif label:
        window.run(
            "() => [...document.querySelectorAll('.gahb-live button')]"
            f".find(b => b.textContent === {label!r}).click()"
        )
    else:
        window.run(
            """() => {
                const input = document.querySelector('.gahb-live input[type=range]');
                input.value = Number(input.value) + 1;
                input.dispatchEvent(new Event('input', {bubbles: true}));
            }"""
        )
    status = "document.querySelector('.gahb-live-status').textContent"
    window.wait_for(f"{status}.includes({said!r})")
    assert window.run(f"() => {SHOWN}") != before
    assert window.run("() => document.querySelector('.gahb-live-said').textContent") == ""
    assert window.complaints == []


def test_a_flipbook_turns_and_the_theme_changes(window, place, demo_html):  # noqa: F811
    window.complaints.clear()
    window.open(place(demo_html) + DEMO)
    window.wait_for("document.querySelector('.gahb-long[tabindex]')")
    shown = "[...document.querySelectorAll('.gahb-explore img')].find(i => i.offsetParent).alt"
    window.run(
        """() => {
            const input = document.querySelector('.gahb-control input');
            input.value = 3;
            input.dispatchEvent(new Event('input', {bubbles: true}));
        }"""
    )
    assert window.run(f"() => {shown}").endswith("0.4")
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = set()
    for _ in range(3):  # light, dark, and that of the machine
        window.run("() => document.querySelector('.theme-switch-button').click()")
        seen.add(window.run(f"() => {ground}"))
    assert len(seen) == 2
    assert window.complaints == []
