"""The command line: its exit codes and its one-line errors."""

import gc
import subprocess
import sys
import warnings

import pytest

from gahb_core import cli


def test_run_then_build_then_nothing_to_do(project, capfd):
    (project / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n"
                                      "- file: book/a_one\n- file: book/a_five\n")  # fmt: skip
    assert cli.main(["--root", str(project), "run", "a_one", "--jobs", "1"]) == 0
    assert "pages: 1 ok, 0 unchanged, 0 not run, 0 failed" in capfd.readouterr().out
    assert cli.main(["--root", str(project), "run", "a_one"]) == 0
    assert "pages: 0 ok, 1 unchanged" in capfd.readouterr().out
    assert cli.main(["--root", str(project), "run", "a_one", "--force"]) == 0
    assert "pages: 1 ok" in capfd.readouterr().out


def test_a_failed_page_is_exit_code_one(project, capfd):
    notebook = project / "book" / "a.ipynb"
    notebook.write_text(notebook.read_text().replace("2 * num", "2 / 0"))
    assert cli.main(["--root", str(project), "run", "a_one"]) == 1
    assert "ZeroDivisionError" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["run", "nowhere"], "gahb: page 'nowhere' must be one of: a_one, a_five"),
        (["serve"], "gahb: the book has not been built yet: run `make book`"),
        (["train"], "gahb: name the recipes to train, or give --all"),
        (["train", "nothing"], "gahb: name must be a recipe of 'laptop' (fashion"),
        (["fetch", "nothing"], "gahb: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(project, capsys, words, match):
    assert cli.main(["--root", str(project), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(match)
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["bake"], ["run", "--jobs", "0"], ["run", "--profile", "x"]])
def test_arguments_are_checked(words):
    with pytest.raises(SystemExit) as error:
        cli.main(words)
    assert error.value.code == 2


def test_outside_a_clone_no_traceback(tmp_path):
    code = "import sys; from gahb_core import cli; sys.exit(cli.main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "torch" not in done.stdout
    for command in ("recipes", "train", "fetch", "run", "build", "serve"):
        assert command in done.stdout


def test_the_command_line_starts_without_torch():
    code = "import sys, gahb_core.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recipes_are_listed(capsys):
    assert cli.main(["recipes", "--profile", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(line.split()[1] in ("shipped", "unfinished", "missing") for line in lines)


def test_training_writes_checkpoints_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    names = ["c_alpha/alpha=1", "c_alpha/alpha=2"]
    words = ["train", *names, "--profile", "smoke", "--jobs", "2", "--device", "cpu"]
    assert cli.main(words) == 0
    printed = capfd.readouterr().out
    for name in names:
        assert f"{name}: step 40/40" in printed
        assert (tmp_path / "smoke" / f"{name}.safetensors").is_file()
        assert not (tmp_path / "smoke" / f"{name}.state").exists()
    assert cli.main(words) == 0
    assert f"{names[0]}: already trained" in capfd.readouterr().out


def test_training_as_a_job_array(project, monkeypatch, capfd):
    """Through submitit on this machine; "slurm" differs in the cluster's name alone."""
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "weights"))
    monkeypatch.setattr(cli, "EXECUTORS", ("local", "slurm", "debug"))
    words = ["train", "c_*pha=1", "--profile", "smoke", "--device", "cpu"]
    args = cli.make_parser().parse_args(["--root", str(project), *words, "--executor", "debug"])
    with warnings.catch_warnings():  # the debug executor leaves its log files open
        warnings.simplefilter("ignore", ResourceWarning)
        assert cli.train(args) == 0
        gc.collect()
    assert "c_alpha/alpha=1: trained" in capfd.readouterr().out


def test_recipes_are_chosen_by_patterns(tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))

    def choose(*words):
        return cli._choose_recipes(cli.make_parser().parse_args(["train", *words]))

    names = [f"celeba/N={n}/{s}" for n in (100_000, 1, 10, 100, 1_000, 10_000) for s in "AB"]
    assert choose("celeba/*", "--profile", "paper") == names
    assert choose("lsun/N=10/B", "lsun/N=10/*", "--profile", "paper") == [
        "lsun/N=10/B",
        "lsun/N=10/A",
    ]
    with pytest.raises(ValueError, match=r"name must be a recipe of 'laptop' .*, not 'celeba/\*'"):
        choose("celeba/*")
