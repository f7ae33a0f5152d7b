"""The command line: its exit codes and its one-line errors."""

import gc
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from PIL import Image

from gahb_book import cli
from gahb_core import training
from gahb_core.training import RECIPES, fingerprint


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
        (["train"], "gahb: name the recipes to train, or give --all"),
        (["train", "nothing"], "gahb: name must be a recipe of 'laptop' (fashion"),
        (["fetch", "nothing"], "gahb: "),
        (["train", "disks", "--device", "mps"], "gahb: device must be one that is here, such as"),
        (["train", "disks", "--device", "cuda:99"], "gahb: device must be one that is here, such"),
        (["train", "disks", "--device", "meta"], "gahb: device must be one that is here, such as"),
        (["train", "disks", "--device", "nonsense"], "gahb: device must be one that is here, such"),
        (["run", "-p", "device=cpu,cuda:99"], "gahb: device must be one that is here, such as cpu"),
        (["run", "--executor", "slurm"], "gahb: executor slurm needs the command sbatch"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(project, monkeypatch, capsys, words, match):
    monkeypatch.setenv("PATH", str(project))  # there may be an sbatch here
    assert cli.main(["--root", str(project), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(match)
    assert error.count("\n") == 1


def test_a_root_that_is_none_is_not_replaced(tmp_path, capsys):
    assert cli.main(["--root", str(tmp_path / "no"), "run"]) == 2
    assert f"root must be a folder, and {tmp_path / 'no'} is none" in capsys.readouterr().err


def test_a_cluster_that_refuses_is_one_line(project, tmp_path, monkeypatch, capsys):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    refusal = "sbatch: error: Batch job submission failed: Requested node configuration is not"
    sbatch.write_text(f"#!/bin/sh\necho 'sbatch: a warning' >&2\necho '{refusal}' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    (sbatch.parent / "srun").symlink_to(sbatch)
    monkeypatch.setenv("PATH", str(sbatch.parent), prepend=":")
    assert cli.main(["--root", str(project), "run", "a_one", "--executor", "slurm"]) == 2
    error = capsys.readouterr().err
    hint = "(--gpus 0 asks for none, --partition names another part)"
    assert error == f"gahb: the cluster refuses the jobs: {refusal} {hint}\n"


def test_a_reader_that_goes_away_is_no_error():
    """`gahb recipes | head`: the pipe closes while we write."""
    with subprocess.Popen(
        [sys.executable, "-m", "gahb_book.cli", "recipes", "--profile", "paper"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["bake"],
        ["run", "--jobs", "0"],
        ["run", "--profile", "x"],
        ["run", "--timeout", "0"],
        ["run", "--gpus", "-1"],
    ],
)
def test_arguments_are_checked(words):
    with pytest.raises(SystemExit) as error:
        cli.main(words)
    assert error.value.code == 2


def test_outside_a_clone_no_traceback(tmp_path):
    code = "import sys; from gahb_book import cli; sys.exit(cli.main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "torch" not in done.stdout
    for command in ("recipes", "train", "fetch", "run", "results", "compare", "build"):
        assert command in done.stdout


def test_the_command_line_starts_without_torch():
    code = "import sys, gahb_book.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_recipes_are_listed_with_what_is_there_of_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path))
    made, old, begun, *rest = list(RECIPES["smoke"])[:5]
    for name in (made, old):
        weights, card, _ = training.paths(name, "smoke")
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.touch()
        steps = 7 if name == old else RECIPES["smoke"][name].num_steps
        recipe = replace(RECIPES["smoke"][name], num_steps=steps)
        keys = training.store.CARD_KEYS - {"card_sha256"}
        known = dict.fromkeys(keys) | {"fingerprint": fingerprint(recipe)}
        training.write_card(card, known)
    state = training.paths(begun, "smoke")[2]
    state.parent.mkdir(parents=True, exist_ok=True)
    state.touch()
    assert cli.main(["recipes", "--profile", "smoke"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    status = {row[0]: row[1] for row in rows}
    assert list(status) == list(RECIPES["smoke"])
    assert [status[n] for n in (made, old, begun)] == ["trained", "outdated", "unfinished"]
    assert {status[n] for n in rest} == {"missing"}


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


def test_training_on_a_folder_of_images(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(tmp_path / "weights"))
    (tmp_path / "own").mkdir()
    for i in range(12):
        Image.new("RGB", (16, 16), (20 * i, 100, 255)).save(tmp_path / "own" / f"{i}.png")
    words = ["train", "--images", str(tmp_path / "own"), "--size", "8", "--channels", "3"]
    words += ["--steps", "2", "--profile", "smoke", "--device", "cpu"]
    assert cli.main(words) == 0
    name, _, rest = capfd.readouterr().out.partition(": ")
    assert rest.startswith("step 2/2")
    assert name.startswith("own/own_")
    assert (tmp_path / "weights" / "smoke" / f"{name}.safetensors").is_file()
    assert cli.main(words) == 0
    assert f"{name}: already trained" in capfd.readouterr().out
    assert cli.main([*words, "fashion/N=10/A"]) != 0
    assert "images must be given without recipes" in capfd.readouterr().err


def test_training_as_a_job_array(project, monkeypatch, capfd):
    """Through submitit on this machine; "slurm" differs in the cluster's name alone."""
    monkeypatch.setenv("GAHB_CHECKPOINTS", str(project / "weights"))
    monkeypatch.setattr(cli.options, "EXECUTORS", ("local", "slurm", "debug"))
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
    assert choose("celeba/N=*", "--profile", "paper") == names
    assert choose("lsun/N=10/B", "lsun/N=10/*", "--profile", "paper") == [
        "lsun/N=10/B",
        "lsun/N=10/A",
    ]
    with pytest.raises(ValueError, match=r"name must be a recipe of 'laptop' .*, not 'celeba/\*'"):
        choose("celeba/*")
