"""The report of an examination: one HTML file that needs nothing else, and one JSON."""

import base64
import html
import io
import json
from pathlib import Path

import matplotlib.pyplot as plt

from gahb_book import plots
from gahb_book.examine.figures import FIGURES, Figure
from gahb_book.examine.measure import Examination
from gahb_core.files import write_safely

STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 1rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; opacity: .8; }
img { width: 100%; background: white; border-radius: 4px; }
table { border-collapse: collapse; font-size: .9rem; }
.wide { overflow-x: auto; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .8rem .2rem 0; text-align: left; }
h2 { margin: 2rem 0 .3rem; font-size: 1.15rem; } p { margin: .3rem 0 .6rem; }
.fault { color: #c33; font-weight: 600; } .note { color: #b70; }
@media (max-width: 640px) { .pair { grid-template-columns: 1fr; } }
"""


def write_report(
    found: Examination, folder: Path, beside: Examination | None = None
) -> tuple[Path, Path]:
    """Return the paths of `report.html` and `report.json`, written to `folder`.

    Args:
        found: of the denoiser examined.
        folder: made where it is not there.
        beside: whose figures stand to the right, such as `load_garments()`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "report.html", folder / "report.json"
    with plt.style.context(str(plots.STYLE)):
        write_safely(paths[0], _page(found, beside))
    write_safely(paths[1], json.dumps(found.numbers, indent=1, ensure_ascii=False) + "\n")
    return paths


def _page(found: Examination, beside: Examination | None) -> str:
    name = html.escape(str(found.numbers["name"]))
    parts = [_pair(figure, found, beside) for figure in FIGURES]
    trouble = found.numbers["trouble"]
    warned = f"<p class='fault'>No samples: {html.escape(trouble)}.</p>" if trouble else ""
    memory = found.numbers["memorization"]
    verdict = f"<p><b>Copies.</b> {html.escape(memory['verdict'])}.</p>" if memory else ""
    wall, cpu = (found.numbers[n] for n in ("seconds", "cpu_seconds"))
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{STYLE}</style><h1>{name}</h1>"
        f"<p>Images of {found.numbers['shape']}, {found.numbers['num_images']} of them; basis at "
        f"σ = {found.numbers['sigma']:g}. Measured in {wall:.0f} s ({cpu:.0f} s of processor). "
        "Left: this denoiser. Right: the same figure of the network of the book <i>How diffusion "
        f"models generalize</i> that was trained on 10,000 garments.</p>{warned}{verdict}"
        + _table(found, beside)
        + _checks(found)
        + "".join(parts)
        + "</html>\n"
    )


def _span(value: list) -> str:
    return f"{value[0]:.3g} ({value[1]:.3g} to {value[2]:.3g})"


def rows_of(found: Examination) -> dict[str, str]:
    """Return the headline numbers of an examination, as text."""
    first = found.numbers["first_image"]
    more = " or more" if first["all_above_half"] else ""
    return {
        "PSNR of the estimate, dB (95% over images)": _span(found.numbers["psnr"]),
        "trace of J (95% over images)": _span(found.numbers["trace"]),
        "factors above ½, first image": f"{first['num_above_half']}{more}",
        "largest factor": f"{first['largest_factor']:.2f}",
        "asymmetry ‖J − Jᵀ‖/‖J‖ (± standard error)": (
            f"{first['asymmetry'][0]:.2f} ± {first['asymmetry'][1]:.2f}"
        ),
        "‖f(y) − J y‖/‖f(y)‖": f"{first['gap_to_jy']:.2g}",
        "⟨u, Jv⟩ against ⟨Jᵀu, v⟩": f"{first['adjoint_error']:.1e}",
        "change of f(y, σ) with σ told 1.5 σ": f"{found.numbers['uses_sigma']:.2g}",
    }


def _table(found: Examination, beside: Examination | None) -> str:
    own = rows_of(found)
    other = rows_of(beside) if beside else dict.fromkeys(own, "")
    lines = "".join(
        f"<tr><td>{html.escape(k)}<td>{html.escape(v)}<td>{html.escape(other[k])}"
        for k, v in own.items()
    )
    head = "<tr><th>quantity<th>this denoiser<th>the book's garments"
    return f"<div class='wide'><table>{head}{lines}</table></div>"


def _checks(found: Examination) -> str:
    lines = "".join(
        f"<tr><td>{html.escape(c['name'])}<td class='{html.escape(c['verdict'])}'>"
        f"{html.escape(c['verdict'])}<td>{html.escape(c['text'])}"
        for c in found.numbers["checks"]
    )
    return f"<h2>Is it a denoiser?</h2><div class='wide'><table>{lines}</table></div>"


def _pair(figure: Figure, found: Examination, beside: Examination | None) -> str:
    if not all(name in found.arrays for name in figure.needs):
        return ""
    shown = [found] + ([beside] if beside and set(figure.needs) <= set(beside.arrays) else [])
    cells = "".join(
        f"<figure><img alt='{html.escape(figure.title)} {html.escape(str(ex.numbers['name']))}' "
        f"src='data:image/png;base64,{_picture(figure, ex)}'>"
        f"<figcaption>{html.escape(str(ex.numbers['name']))}</figcaption></figure>"
        for ex in shown
    )
    return (
        f"<h2 id='{figure.name}'>{html.escape(figure.title)}</h2><p>{html.escape(figure.text)}</p>"
        f"<div class='pair'>{cells}</div>"
    )


def _picture(figure: Figure, ex: Examination) -> str:
    plot, file = figure.draw(ex), io.BytesIO()
    plot.savefig(file, format="png", dpi=110)
    plt.close(plot)
    return base64.b64encode(file.getvalue()).decode()
