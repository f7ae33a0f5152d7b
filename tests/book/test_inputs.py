"""What a page is made from, as its kernel noted it; and what a change of it makes stale."""

import json

import pytest
from projects import add_page

from gahb_book import inputs
from gahb_book.places import Places
from gahb_book.run.execute import execute_page
from gahb_book.run.stamp import is_current


def used_by(project, *cells):
    page, places = add_page(project, "reader", "# Reader", *cells), Places(project)
    execute_page(page, places)
    return page, places, json.loads(places.stamp("reader").read_text())["used"]


def test_a_kernel_notes_the_modules_it_loaded_and_the_files_it_read(project):
    measured = project / "book" / "measured"
    measured.mkdir()
    (measured / "times.json").write_text("{}")
    (measured / "other.json").write_text("{}")
    page, places, used = used_by(
        project,
        "from gahb_core import noise",
        "from pathlib import Path\nname = 'ti' + 'mes'\nPath(f'measured/{name}.json').read_text()",
        "Path('made.txt').write_text('made')",
    )
    assert "library/gahb_core/noise.py" in used
    assert "library/gahb_core/checks.py" in used  # which noise imports
    assert "library/gahb_core/sampling/ascent.py" not in used
    assert "library/gahb_book/cli/__init__.py" not in used
    assert [name for name in used if name.startswith("book/")] == ["book/measured/times.json"]
    assert is_current(page, places)
    (measured / "other.json").write_text("{1}")
    assert is_current(page, places)
    (measured / "times.json").write_text("{1}")
    assert not is_current(page, places)


def test_a_new_file_of_a_listed_folder_is_a_change(project):
    measured = project / "book" / "measured"
    measured.mkdir()
    code = "from pathlib import Path\nnames = [p.name for p in Path('measured').glob('*.json')]"
    page, places, used = used_by(project, code)
    assert "book/measured" in used
    (measured / "new.json").write_text("{}")
    assert not is_current(page, places)


def test_a_page_whose_input_changes_while_it_runs_is_not_current(project):
    (project / "book" / "list.yml").write_text("a: 1")
    code = (
        "from pathlib import Path\nPath('list.yml').read_text()\nPath('list.yml').write_text('b')"
    )
    page, places, _ = used_by(project, code)
    assert not is_current(page, places)


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small library in place of this one."""
    monkeypatch.setattr(inputs, "LIBRARY", tmp_path)
    (tmp_path / "gahb_core").mkdir()
    return tmp_path / "gahb_core" / "noise.py"


def test_comments_layout_and_docstrings_change_nothing_and_code_does(library, tmp_path):
    def hashed(code):
        library.write_text(code)
        return inputs.hash_inputs(["library/gahb_core/noise.py"], tmp_path)

    first = hashed('"""One."""\n\ndef f(x):\n    """Two."""\n    return x + 1\n')
    assert hashed('"""1."""\n# why\ndef f(x):\n    """2."""\n    return (x  + 1)\n') == first
    assert hashed('"""One."""\n\ndef f(x):\n    """Two."""\n    return x + 2\n') != first
    library.unlink()
    assert inputs.hash_inputs(["library/gahb_core/noise.py"], tmp_path) != first
