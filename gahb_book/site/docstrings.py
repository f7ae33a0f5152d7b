"""A Sphinx extension: docstrings of the library as autodoc may read them.

They are written for people at a terminal: |x|, a*b and x_ are formulas there, where the builder
would take bars, stars and underlines for its own marks. Within `backticks` nothing is changed.
"""

import re

from sphinx.application import Sphinx

# bars, stars (but for those of a list), and the underline that ends a name
MARKS = re.compile(r"(?<!\\)[*|]|(?<=\w)_(?!\w)")


def escape(line: str) -> str:
    r"""Return a line of a docstring with the builder's marks escaped outside of its `code`.

    >>> print(escape("Return |x| of shape (B, *shape), `Step`s and `a*b`."))
    Return \|x\| of shape (B, \*shape), `Step`\ s and `a*b`.
    """
    bullet = re.match(r"\s*\* ", line)
    head = bullet.group() if bullet else ""
    text, *rest = line[len(head) :].split("`")
    text = MARKS.sub(r"\\\g<0>", text)
    for i, part in enumerate(rest):
        outside = i % 2 == 1
        glued = outside and part[:1] and not re.match(r"[\s.,:;?!)\]}/'\"-]", part)
        text += "`" + ("\\ " if glued else "") + (MARKS.sub(r"\\\g<0>", part) if outside else part)
    return head + text


def _process(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    lines[:] = [line if line.lstrip().startswith(">>>") else escape(line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; napoleon comes after, and adds marks of its own."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
