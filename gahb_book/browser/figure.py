"""A live figure: its picture made beforehand, its data, and the scripts that make it move.

In a page it is plain HTML with classic scripts; in JupyterLab, VS Code and Colab the same scripts
are an anywidget, whose networks the kernel sends when they are first used.
"""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.display import HTML

from gahb_book.browser.weights import read_file, script_name
from gahb_book.widgets import in_page, png_bytes
from gahb_book.widgets.pictures import check_alt

STATIC = Path(__file__).parent / "static"
SHARED = ("engine.js", "methods.js", "host.js", "parts.js")
FIGURES = tuple(sorted(p.stem for p in STATIC.glob("*.js") if p.name not in SHARED))

# loads each script once a page, in their order, then starts the figure around it; engine and
# methods wait for its first use
_BOOT = """<script>(box => {
const page = window.gahbLive ??= {scripts: {}};
const root = document.documentElement.dataset.content_root || "./";
const load = name => page.scripts[name] ??= new Promise((loaded, failed) => {
  const part = document.createElement(name.endsWith("css") ? "link" : "script");
  Object.assign(part, {onload: loaded, onerror: () => failed(name), rel: "stylesheet"});
  part[name.endsWith("css") ? "href" : "src"] = root + "_static/live/" + name;
  document.head.append(part);
});
["live.css", ...box.dataset.scripts.split(" ")]
  .reduce((before, name) => before.then(() => load(name)), Promise.resolve())
  .then(() => GAHB.start(box)).catch(error => {
    box.querySelector(".gahb-live-said").textContent = `This figure stands still here: ${error}.`;
  });
})(document.currentScript.parentElement)</script>"""

_WIDGET = """
export default {
  render({ model, el }) {
    const waiting = new Map();
    const listen = ({ name, header, data, error }) => {
      const [resolve, reject] = waiting.get(name) || [];
      if (error) reject?.(new Error(error));
      else resolve?.({ header, data });
    };
    model.on("msg:custom", listen);
    const fetch = (name) => new Promise((resolve, reject) => {
      waiting.set(name, [resolve, reject]);
      model.send({ name });
    });
    el.innerHTML = model.get("markup");
    GAHB.start(el.querySelector(".gahb-live"), fetch);
    return () => model.off("msg:custom", listen);
  },
};
"""


def read_static(name: str) -> str:
    """Return the text of a file that live figures load."""
    return (STATIC / name).read_text(encoding="utf-8")


def _scripts(figure: str) -> list[str]:
    """Return the scripts that a figure needs from the start, in their order."""
    return ["host.js", *(["parts.js"] if figure != "front" else []), f"{figure}.js"]


# without a script a caption that tells the reader what to do gives way to what the picture shows
_STILL = (
    "<noscript><style>.gahb-live>.gahb-caption{{display:none}}</style>"
    '<p class="gahb-note">This figure moves only with JavaScript. {}</p></noscript>'
)


def _picture(image: Any, alt: str) -> str:
    """Return the picture made beforehand, as wide as the text also without the style sheet."""
    source = base64.b64encode(png_bytes(image, levels=32)[0]).decode()
    return (
        f'<img class="gahb-live-picture" alt="{html.escape(alt)}" '
        f'style="width:100%;image-rendering:pixelated" src="data:image/png;base64,{source}">'
        f"{_STILL.format(html.escape(alt))}"
    )


def _markup(figure: str, asked: str, content: dict, picture: str, caption: str, note: str) -> str:
    """Return the HTML of a figure without scripts and without its end."""
    data = json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return (
        f'<figure class="gahb-live" data-figure="{figure}" data-live-networks="{asked}" '
        f'data-scripts="{" ".join(_scripts(figure))}">'
        f"{picture}"
        '<p class="gahb-live-said" role="status"></p>'
        f'<figcaption class="gahb-caption">{caption} <em>{html.escape(note)}</em></figcaption>'
        f'<script type="application/json" class="gahb-live-data">{data}</script>'
    )


class _Widget(anywidget.AnyWidget):
    """The figure in a notebook: the markup, and an answer to each network asked for."""

    markup = traitlets.Unicode().tag(sync=True)

    def __init__(self, figure: str, markup: str, networks: Sequence[str], profile: str) -> None:
        scripts = [read_static(name) for name in (*SHARED, f"{figure}.js")]
        self._esm = "\n".join([*scripts, _WIDGET])
        self._css = read_static("live.css")
        super().__init__(markup=markup)
        self._networks, self._profile = set(networks), profile
        self.on_msg(self._answer)

    def _answer(self, _: Any, content: dict, __: Any) -> None:
        """Send the network that the page asks for, or say why there is none."""
        name = content.get("name")
        if name not in self._networks:
            self.send({"name": name, "error": f"this figure has no network {name!r}"})
            return
        try:
            header, data = read_file(name, self._profile)
        except (ValueError, OSError) as error:
            self.send({"name": name, "error": str(error)})
        else:
            self.send({"name": name, "header": header, "data": data})


def explore_network(
    figure: str,
    networks: Sequence[str],
    picture: Any,
    *,
    alt: str,
    caption: str,
    data: dict | None = None,
    note: str = "Computed in your browser, as you look.",
    labels: dict[str, str] | None = None,
    sets: Sequence[str] = (),
    profile: str = "laptop",
) -> HTML | anywidget.AnyWidget:
    """Return a figure in which trained networks run in the reader's browser.

    Args:
        figure: name of its script, one of `FIGURES`.
        networks: names of the checkpoints that it may ask for, the first one first.
        sets: names of the sets of images that it may ask for (`weights.image_set`).
        picture: made beforehand, as for `widgets.png_bytes`; it stays where nothing can move.
        alt: what the picture shows, in words.
        caption: what to see; HTML.
        data: what the script is told, in JSON.
        note: what is computed live.
        labels: network → its name for readers.
        profile: table of recipes.

    Returns:
        HTML in a page (GAHB_PAGE), a widget elsewhere.

    Raises:
        ValueError: for an unknown figure, or without an alternative text.
    """
    if figure not in FIGURES:
        raise ValueError(f"figure must be one of {', '.join(FIGURES)}, not {figure!r}")
    files = [
        {"name": name, "file": script_name(name, profile), "label": (labels or {}).get(name, name)}
        for name in networks
    ]
    asked = html.escape(" ".join(f"{profile}|{name}" for name in (*networks, *sets)))
    check_alt(alt)
    kept = [{"name": name, "file": script_name(name)} for name in sets]
    content = (data or {}) | {"networks": files, "sets": kept}
    markup = _markup(figure, asked, content, _picture(picture, alt), caption, note)
    if in_page():
        return HTML(f"{markup}{_BOOT}</figure>")
    return _Widget(figure, f"{markup}</figure>", [*networks, *sets], profile)
