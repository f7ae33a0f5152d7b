"""Notebooks read strictly, and the parameters that a page may set."""

import json
from ast import literal_eval

import pytest
from projects import ROOT, make_notebook

from gahb_book.run import Page, load_pages
from gahb_book.run.notebooks import choose_parameters, code_of, list_parameters, read_notebook


def damaged(change):
    """Return the text of a notebook after `change` of its content."""
    content = json.loads(make_notebook("# A", "1"))
    change(content)
    return json.dumps(content)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "must be a notebook, and is damaged: Expecting value"),
        (make_notebook("# A")[:-9], "must be a notebook, and is damaged"),
        ("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> b\n", "is damaged: it has conflict markers"),
        ("\ufeff" + make_notebook("# A"), "must be UTF-8 without a byte-order mark"),
        ("[]", "must be a notebook of format 4, not None"),
        (damaged(lambda c: c.update(nbformat=3)), "must be a notebook of format 4, not 3"),
        (damaged(lambda c: c.pop("cells")), "must be a notebook with cells"),
        (damaged(lambda c: c["cells"][1].pop("metadata")), "cell 2 must have metadata"),
        (damaged(lambda c: c["cells"][1].pop("outputs")), "cell 2 must have outputs"),
        (damaged(lambda c: c["cells"][0].pop("source")), "cell 1 must have source"),
        (damaged(lambda c: c["cells"].append(3)), "cell 3 must have cell_type"),
    ],
)
def test_a_damaged_notebook_is_refused_in_one_line_with_its_name(tmp_path, text, match):
    path = tmp_path / "n.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match=match) as error:
        read_notebook(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="must be a notebook, and is damaged"):
        read_notebook(path)


def test_code_is_without_lines_for_ipython(tmp_path):
    path = tmp_path / "n.ipynb"
    path.write_text(make_notebook("# A", "%matplotlib inline\nx = 1\n!ls", "y = 2"))
    assert code_of(read_notebook(path)) == "\nx = 1\n\ny = 2"


def page_with(tmp_path, *cells, **parameters):
    """Return a page whose notebook has code cells: (source, tags)."""
    content = json.loads(make_notebook("# A", *(source for source, _ in cells)))
    for cell, (_, tags) in zip(content["cells"][1:], cells, strict=True):
        cell["metadata"]["tags"] = tags
    path = tmp_path / "n.ipynb"
    path.write_text(json.dumps(content))
    return Page("p", path, parameters)


def test_parameters_are_plain_and_annotated_assignments(tmp_path):
    source = 'profile: str = "laptop"  # of recipes\nnum = 1\nsigmas: list[float] = [0.1]'
    page = page_with(tmp_path, ("before = 0", []), (source, ["parameters"]), num=3)
    assert list_parameters(page) == ["profile", "num", "sigmas"]
    assert choose_parameters(page, "smoke") == {"profile": "smoke", "num": 3}
    assert list_parameters(page_with(tmp_path, ("num = 1", []))) == []


def test_papermill_sees_every_parameter_that_is_allowed(tmp_path):
    """Papermill itself sets them after the cell that we read."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    page = page_with(tmp_path, ("a: int = 1\nb = 2", ["parameters"]), ("print(a, b)", []), a=5)
    made = parameterize_notebook(
        load_notebook_node(str(page.notebook)), choose_parameters(page, "smoke")
    )
    scope = {}
    for cell in made.cells[1:3]:
        exec(cell.source, scope)
    assert (scope["a"], scope["b"]) == (5, 2)


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ([("a, b = 1, 2", ["parameters"])], r"page p, cell 2 of n.ipynb .*not '\(?a, b\)? = "),
        ([("a = b = 1", ["parameters"])], "must hold lines `name = value` alone, not 'a = b = 1'"),
        ([("import os", ["parameters"])], "alone, not 'import os'"),
        ([("a: int", ["parameters"])], "alone, not 'a: int'"),
        ([("x.y = 1", ["parameters"])], "alone, not 'x.y = 1'"),
        ([("a += 1", ["parameters"])], r"alone, not 'a \+= 1'"),
        ([("a = ", ["parameters"])], r"page p, cell 2 of n.ipynb .* must be Python: line 1"),
        ([("a = 1", ["parameters"]), ("a = 2", ["parameters"])], r"one cell tagged .*\[2, 3\]"),
        ([("a = 1", []), ("a = 2", ["injected-parameters"])], "cell 3 is tagged so: delete it"),
    ],
)
def test_other_cells_of_parameters_are_refused_with_page_and_cell(tmp_path, cells, match):
    with pytest.raises(ValueError, match=match):
        list_parameters(page_with(tmp_path, *cells))


def test_a_parameter_that_is_not_there_is_refused(tmp_path):
    page = page_with(tmp_path, ("num = 1", ["parameters"]), nun=3)
    with pytest.raises(ValueError, match=r"parameters of page p must be of \['num'\], not \['nun'"):
        choose_parameters(page, "laptop")


PAGES = {page.notebook: page for page in load_pages(ROOT)}  # one of each notebook


@pytest.mark.parametrize("notebook", PAGES, ids=lambda path: path.stem)
def test_papermill_lists_every_parameter_with_its_default(notebook, caplog):
    """As `papermill --help-notebook` does, which reads no line of a cell with two "="."""
    from papermill import inspect_notebook  # here: it takes seconds to load

    listed = {name: p["default"] for name, p in inspect_notebook(str(notebook)).items()}
    assert "Unable to parse" not in caplog.text
    assert list(listed) == list_parameters(PAGES[notebook])
    cells = read_notebook(notebook)["cells"]
    (cell,) = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    defaults = {}
    exec("".join(cell["source"]), defaults)
    assert {name: literal_eval(text) for name, text in listed.items()} == {
        name: defaults[name] for name in listed
    }
