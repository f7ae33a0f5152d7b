"""`book/pages.yml`, read strictly: what is not understood is refused, with its page and key."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import fastjsonschema
import yaml

from gahb_book.run.spec import Page

_NAMES = {"type": "array", "items": {"type": "string", "minLength": 1}}
_RANGE = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_RANGED = {"type": "object", "additionalProperties": _RANGE, "minProperties": 1, "maxProperties": 1}
_RECORDS = {"type": "array", "items": {"anyOf": [{"type": "string", "minLength": 1}, _RANGED]}}
_NEEDS = ("data", "files", "checkpoints", "results")
SCHEMA = {
    "type": "object",
    "required": ["pages"],
    "additionalProperties": False,
    "properties": {
        "prose": _NAMES,
        "pages": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "notebook"],
                "additionalProperties": False,
                "properties": {
                    # names of files; results/run.json and results/page_weights.json are taken
                    "name": {"type": "string", "pattern": r"^(?!run$|page_weights$)[\w-]+$"},
                    "notebook": {"type": "string", "pattern": r"^[\w-][\w.-]*\.ipynb$"},
                    "part": {"type": "string", "minLength": 1},
                    "title": {"type": "string"},
                    "parameters": {
                        "type": "object",
                        "propertyNames": {"pattern": r"^[A-Za-z_]\w*$"},
                    },
                    "needs": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": dict.fromkeys(_NEEDS, _NAMES),
                    },
                    "records": _RECORDS,
                },
            },
        },
    },
}


class PlainLoader(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e-3 is a number; on, yes and dates are text; no key twice."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Return the mapping of a node, refused where it has a key twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, (mark, _) in zip(keys, node.value, strict=True):
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", mark.start_mark
                )
        return super().construct_mapping(node, deep)


for _tag, _text, _first in (
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"null|~|", ["n", "~", ""]),
):
    PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_text})$"), _first
    )


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), PlainLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"{path}{where}: must be YAML: {why}") from error


def _describe(error: fastjsonschema.JsonSchemaValueException, listing: Any, path: Path) -> str:
    """Return one line that names file, page and key of what does not fit."""
    where, keys = str(path), error.path[1:]
    if len(keys) > 1:
        entry = listing["pages"][int(keys[1])]
        name = entry.get("name") if isinstance(entry, dict) else None
        where += f", page {name if isinstance(name, str) else int(keys[1]) + 1}"
        keys = keys[2:]
    why = error.message.removeprefix(error.name or "").strip()
    if error.rule == "pattern":
        why = f"must match {error.rule_definition}"
    key = ".".join(map(str, keys))
    return f"{where}: {f'{key}: ' if key else ''}{why}, not {error.value!r}"


@cache
def _validator() -> Any:
    return fastjsonschema.compile(SCHEMA)


def expand_braces(text: str) -> list[str]:
    """Return the names that a text with lists in braces stands for.

    >>> expand_braces("psnr.{train,test}.{0,3}")
    ['psnr.train.0', 'psnr.train.3', 'psnr.test.0', 'psnr.test.3']

    Raises:
        ValueError: for a brace that is not closed.
    """
    head, brace, rest = text.partition("{")
    if not brace:
        return [text]
    options, closed, tail = rest.partition("}")
    if not closed:
        raise ValueError(f"braces in book/pages.yml must be closed, not {text!r}")
    return [head + option + end for option in options.split(",") for end in expand_braces(tail)]


def _expand(texts: list[str] | None) -> tuple[str, ...]:
    return tuple(name for text in texts or () for name in expand_braces(text))


def _read_records(entry: dict) -> dict[str, tuple[float, float] | None]:
    """Return what a page records, each with its range, or None where it has none.

    Raises:
        ValueError: for a figure listed twice, or a range whose ends are in the wrong order.
    """
    found: dict[str, tuple[float, float] | None] = {}
    for item in entry.get("records", ()):
        text, ends = (item, None) if isinstance(item, str) else next(iter(item.items()))
        for name in expand_braces(text):
            if name in found:
                raise ValueError(f"page {entry['name']}: records must list {name} once, not twice")
            if ends and ends[0] > ends[1]:
                raise ValueError(f"page {entry['name']}: {name} must be in [low, high], not {ends}")
            found[name] = ends and (ends[0], ends[1])
    return found


def _make_page(entry: dict, root: Path) -> Page:
    notebook = root / "book" / entry["notebook"]
    if not notebook.is_file():
        raise ValueError(f"page {entry['name']}: notebook {notebook} does not exist")
    needs = entry.get("needs", {})
    records = _read_records(entry)
    needed: dict[str, Any] = {key: _expand(needs.get(key)) for key in _NEEDS}
    return Page(
        entry["name"],
        notebook,
        entry.get("parameters", {}),
        entry.get("title"),
        records=tuple(records),
        ranges={name: ends for name, ends in records.items() if ends},
        part=entry.get("part"),
        **needed,
    )


def _read_listing(root: Path) -> dict[str, Any]:
    """Return `book/pages.yml`, held against `SCHEMA`."""
    path = root / "book" / "pages.yml"
    listing = _read(path)
    try:
        return _validator()(listing)
    except fastjsonschema.JsonSchemaValueException as error:
        raise ValueError(_describe(error, listing, path)) from error


def load_prose(root: Path) -> tuple[str, ...]:
    """Return the names of the pages without code that end the contents."""
    return tuple(_read_listing(root).get("prose", ()))


def load_pages(root: Path) -> list[Page]:
    """Return the pages of `book/pages.yml`, in its order.

    Raises:
        ValueError: for what is no YAML or does not fit `SCHEMA` (with file, page and key), a name
            used twice, a notebook or a result's page missing.
    """
    listing = _read_listing(root)
    pages = [_make_page(entry, root) for entry in listing["pages"]]
    names = [page.name for page in pages]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names in book/pages.yml must be unique, not repeated: {twice}")
    for page in pages:
        unknown = sorted(set(page.results) - set(names))
        if unknown:
            raise ValueError(f"page {page.name} needs the results of unknown pages {unknown}")
    return pages
