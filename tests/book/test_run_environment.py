"""What of the reader's machine reaches a page is decided by us, not by chance."""

import errno
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from projects import ROOT, make_notebook

from gahb_book.places import book_path
from gahb_book.run.jobs import count_cores
from gahb_book.run.kernel import decide_environment
from gahb_core import files, training
from gahb_core.files import cache_folder

PLOT = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2])\nplt.show()"
READ = (
    "from pathlib import Path\n"
    "from gahb_book.record import record\n"
    "assert Path('sigma.txt').read_text() == 'σ = ½'\n"
    "print('σ = ½')\n"
    "assert plt.rcParams['lines.linewidth'] == 1.5, 'a style of the reader'\n"
    "import numpy\n"
    "record('a.one', 1)"
)
OPTIMIZED = (
    "try:\n    assert False\nexcept AssertionError:\n    pass\nelse:\n    raise ValueError('-O')"
)


def gahb(project, *words, **variables):
    """Return the run of `gahb` in a project, in an environment that says `variables`, too."""
    command = [sys.executable, "-m", "gahb_book.cli", "--root", str(project), *words]
    env = {k: v for k, v in os.environ.items() if variables.get(k, "") is not None}
    env |= {k: v for k, v in variables.items() if v is not None}
    return subprocess.run(command, env=env, capture_output=True, check=False, cwd=ROOT)


@pytest.fixture
def plotting(project):
    """The small project with one page that plots, prints σ and reads a file in UTF-8."""
    (project / "book" / "sigma.txt").write_text("σ = ½", encoding="utf-8")
    (project / "book" / "a.ipynb").write_text(
        make_notebook("# σ", PLOT, READ, OPTIMIZED, parameters="profile = 'laptop'\nnum = 1"),
        encoding="utf-8",
    )
    (project / "book" / "pages.yml").write_text(
        "pages:\n  - {name: a_one, notebook: a.ipynb, records: [a.one]}\n"
    )
    return project


def test_a_page_is_the_same_in_an_odd_environment(plotting, tmp_path):
    """Backend, style, locale, switches, packages of the shell: none of them reaches the page."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "numpy.py").write_text("raise ImportError('a foreign numpy')")
    (tmp_path / "odd" / "matplotlibrc").write_text("lines.linewidth: 7\nbackend: agg\n")
    odd = {
        "MPLBACKEND": "Agg", "MATPLOTLIBRC": str(tmp_path / "odd"), "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1",
        "PYTHONWARNINGS": "error", "PYTHONSTARTUP": str(tmp_path / "odd" / "numpy.py"),
    }  # fmt: skip
    done = gahb(plotting, "run", **odd)
    said = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
    assert done.returncode == 0, said
    made = (plotting / "_build" / "executed" / "a_one.ipynb").read_text(encoding="utf-8")
    assert "image/png" in made
    assert "σ = ½" in made


@pytest.mark.parametrize("switch", [{"PYTHONOPTIMIZE": "2"}, {"PYTHONPATH": "ODD"}])
def test_the_pages_of_a_process_have_its_packages_and_their_asserts(plotting, tmp_path, switch):
    """What the front end was started with does not reach the processes of its pages."""
    (tmp_path / "numpy.py").write_text("raise ImportError('a foreign numpy')")
    set_to = {k: str(tmp_path) if v == "ODD" else v for k, v in switch.items()}
    program = (
        "import os, sys\n"
        "from gahb_book.cli import main\n"
        f"os.environ.update({set_to})\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", program, "--root", str(plotting), "run"]
    done = subprocess.run(words, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def test_a_page_without_its_picture_fails(plotting):
    blind = "import matplotlib\nmatplotlib.use('agg')\n" + PLOT
    (plotting / "book" / "a.ipynb").write_text(
        make_notebook("# blind", "from gahb_book.record import record\nrecord('a.one', 1)", blind)
    )
    done = gahb(plotting, "run")
    assert done.returncode == 1
    assert b"it shows a figure and left no picture" in done.stdout
    assert gahb(plotting, "run").returncode == 1, "and is not taken for done"


def test_without_a_home_a_page_runs(plotting):
    """No HOME, and nobody of that number among the users."""
    if os.getuid():
        pytest.skip("only the superuser can run a process as another user")
    script = (
        "import os, sys\n"
        "from gahb_book.cli import main\n"
        "os.environ.pop('HOME', None)\n"
        "import pwd\n"
        "def nobody(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = nobody\n"
        "from gahb_core.files import cache_folder\n"
        "print(cache_folder())\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", script, "--root", str(plotting), "run"]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gahb-cache-" in done.stdout


def test_a_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gahb"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gahb"


def test_checkpoints_are_never_among_the_installed_packages(monkeypatch, tmp_path):
    monkeypatch.delenv("GAHB_CHECKPOINTS", raising=False)
    assert training.folder() == ROOT / "book" / "checkpoints"
    installed = tmp_path / "site-packages" / "gahb_core" / "__init__.py"
    installed.parent.mkdir(parents=True)
    monkeypatch.setattr("gahb_core.__file__", str(installed))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert training.folder() == tmp_path / "cache" / "gahb" / "checkpoints"


def test_no_kernel_inherits_what_it_should_not(tmp_path):
    decided = decide_environment(tmp_path)
    assert decided["PYTHONPATH"] == str(ROOT)
    assert decided["MPLBACKEND"].startswith("module://")
    assert Path(decided["MATPLOTLIBRC"]).parent == tmp_path


# --- the machine --------------------------------------------------------------------------------


def test_cores_are_those_that_the_process_may_use(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 4, 5}, raising=False)
    assert count_cores(tmp_path) == 3
    for limit, cores in (("max 100000", 3), ("150000 100000", 2), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(limit)
        assert count_cores(tmp_path) == cores


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_locks_fail_the_cure_is_named(tmp_path, monkeypatch, code):
    def acquire(self, *args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(OSError, match="locks do not work .* local disk") as caught:  # noqa: SIM117
        with files.lock(tmp_path / "page.lock", "page a_one"):
            raise AssertionError
    assert caught.value.filename == str(tmp_path / "page.lock")
    assert caught.value.errno == code


def test_a_checkout_with_windows_line_ends_is_the_same(tmp_path):
    """Scripts run, and vendored files keep their hashes: .gitattributes, not a user's settings."""
    source = tmp_path / "source"
    source.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(source)]
    kept = {name: (ROOT / name).read_bytes() for name in (".gitattributes", ".ci/run", "Makefile")}
    vendored = next((ROOT / "book" / "_static" / "vendor").rglob("*.js")).relative_to(ROOT)
    kept[str(vendored)] = (ROOT / vendored).read_bytes()
    for name, content in kept.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    subprocess.run(
        ["git", "-c", "core.autocrlf=true", "clone", "-q", str(source), str(tmp_path / "clone")],
        check=True, capture_output=True,
    )  # fmt: skip
    assert {name: (tmp_path / "clone" / name).read_bytes() for name in kept} == kept


def test_pip_installs_into_the_environment_whatever_the_shell_says(monkeypatch):
    spec = importlib.util.spec_from_file_location("environment", ROOT / ".ci" / "environment.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    for name in ("PIP_USER", "PYTHONPATH", "PIP_TARGET"):
        monkeypatch.setenv(name, "1")
    assert not {"PIP_USER", "PYTHONPATH", "PIP_TARGET"} & set(made.ours())
    assert "PATH" in made.ours()


def test_a_notebook_finds_the_files_of_the_book_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert book_path("measured/seeds.json") == ROOT / "book" / "measured" / "seeds.json"
    (tmp_path / "published.yml").write_text("")
    assert book_path("published.yml").read_text() == "", "the one that lies here goes first"


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_no_chapter_looks_beside_the_working_folder_or_in_its_encoding(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    assert not re.findall(r"\b(?:Path|open)\(f?[\"'](?!/).*", code), (
        "book_path(...) finds it anywhere"
    )
    assert not re.findall(r"read_text\(\)|write_text\([^,]*\)$", code), "encoding='utf-8'"
