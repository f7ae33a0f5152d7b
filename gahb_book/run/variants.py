"""Batches: pages with parameters other than the book's, each kept beside the page it varies.

The variant `seed=3` of page 04_fixed_bases is a page of its own, `04_fixed_bases/seed=3`: its
executed notebook, figures and stamp lie in folders of the page's name.
"""

import contextlib
import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from gahb_book.run.listing import PlainLoader
from gahb_book.run.notebooks import choose_parameters
from gahb_book.run.spec import Page

RANGE = re.compile(r"(-?\d+):(-?\d+)")
MANY = 10_000  # variants of a page: more is a slip of the pen


def base_name(name: str) -> str:
    """Return the name of the page that a page, or a variant of it, is in the book."""
    return name.partition("/")[0]


def read_values(text: str) -> list[Any]:
    """Return the values that a text lists, as in YAML, each once; a:b is a range without b.

    >>> read_values("0:3,7,2"), read_values("1e-3,faces"), read_values("[1, 10],[1, 100]")
    ([0, 1, 2, 7], [0.001, 'faces'], [[1, 10], [1, 100]])

    Raises:
        ValueError: for what is no such list, an empty range or a value that is no JSON.
    """
    try:
        values = yaml.load(f"[{text}]", PlainLoader)
        json.dumps(values, allow_nan=False)
    except (yaml.YAMLError, TypeError, ValueError) as error:
        why = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise ValueError(f"values must be a list such as 1,2 or 0:5, not {text!r}: {why}") from None
    found: list[Any] = []
    for value in values:
        limits = RANGE.fullmatch(value) if isinstance(value, str) else None
        first, end = map(int, limits.groups()) if limits else (0, 1)
        if not 0 < end - first <= MANY:
            raise ValueError(f"a range must hold 1 … {MANY} numbers, not {value!r}")
        found += range(first, end) if limits else [value]
    if not found:
        raise ValueError(f"values must be at least one, not {text!r}")
    return list({json.dumps(value): value for value in found}.values())  # each once


def parse_variants(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Return every combination of the values of texts `name=values`; none for no text.

    >>> parse_variants(["seed=0:2", "num=5"])
    [{'seed': 0, 'num': 5}, {'seed': 1, 'num': 5}]

    Raises:
        ValueError: for a text of another form, a name used twice, `profile`, or too many.
    """
    table: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"-p must be name=values, such as seed=0:5, not {text!r}")
        if name in table or name == "profile":
            rule = "be set by --profile" if name == "profile" else "be given once"
            raise ValueError(f"parameter {name} must {rule}, not {text!r}")
        table[name] = read_values(values)
    combinations = 1
    for choices in table.values():
        combinations *= len(choices)
    if combinations > MANY:
        raise ValueError(f"-p must give at most {MANY} variants of a page, not {combinations}")
    if not table:
        return []
    return [dict(zip(table, values, strict=True)) for values in itertools.product(*table.values())]


def _as_yaml(text: str) -> list[Any]:
    """Return what a text is in YAML where that is no text, else nothing: 1 is not "1"."""
    with contextlib.suppress(yaml.YAMLError):
        value = yaml.load(text, PlainLoader)
        return [] if isinstance(value, str) else [text]
    return []


def make_label(variant: dict[str, Any]) -> str:
    """Return a variant's name, fit for a file: the same for the same parameters in any order.

    >>> make_label({"seed": 3, "num": [1, 10]})
    'num=[1,10],seed=3'
    """

    def show(value: Any) -> str:
        plain = isinstance(value, str) and not _as_yaml(value)
        return value if plain else json.dumps(value, separators=(",", ":"))

    plain = ",".join(f"{name}={show(variant[name])}" for name in sorted(variant))
    safe = re.sub(r"[^\w.,=+\[\]-]", "-", plain, flags=re.ASCII)[:120]
    if safe == plain:
        return safe
    exact = json.dumps(variant, sort_keys=True)
    return f"{safe}~{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def make_variant(page: Page, variant: dict[str, Any], pages: Iterable[Page]) -> Page:
    """Return `page` with the parameters `variant`, a page of its own; itself where there are none.

    What it must record is not known beforehand: figures may be named after parameters. Which
    networks it reads is not either, so it is made anew when one changes that a page of its
    notebook reads.

    Raises:
        ValueError: for a parameter that its notebook does not take.
    """
    if not variant:
        return page
    known = {n for p in pages if p.notebook == page.notebook for n in p.checkpoints}
    made = page._replace(
        name=f"{page.name}/{make_label(variant)}", records=(), variant=variant,
        parameters={**page.parameters, **variant},
        also=tuple(sorted(known - set(page.checkpoints))),
    )  # fmt: skip
    choose_parameters(made, "laptop")  # refuses what is not taken
    return made
