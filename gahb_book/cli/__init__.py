"""The command `gahb`: its commands, from `recipes` to `build` (`gahb --help` lists them)."""

import argparse
import fnmatch
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from gahb_book.cli import options
from gahb_book.cluster import format_status, run_on_cluster
from gahb_book.kept.uses import FRESH
from gahb_book.places import Places, find_root
from gahb_book.report import batches
from gahb_book.run import (
    format_report,
    parse_variants,
    run_pages,
    run_processes,
    share_cores,
    term_as_interrupt,
)
from gahb_book.site import build_book, write_contents

USER_ERRORS = (ValueError, OSError, FloatingPointError)
FETCHED = ("faces", "celeba", "lsun", "authors")  # a test holds it: images take seconds to load
PROFILES = ("laptop", "paper", "gpu", "smoke")


def _places(args: argparse.Namespace) -> Places:
    return Places(find_root(args.root), getattr(args, "profile", "laptop"))


def _address(index: Path) -> str:
    return f"the book: {index}\nserve it: make serve   (it also opens as a file)"


def show_recipes(args: argparse.Namespace) -> int:
    """Print the table of named recipes of a profile, each trained, unfinished or missing."""
    from gahb_core import training  # here: torch takes seconds to load

    table = training.RECIPES[args.profile]
    width = max(map(len, table), default=4)
    for name, recipe in table.items():
        status = training.checkpoint_status(name, args.profile)
        images = "endless" if recipe.num is None else recipe.num
        what = f"{recipe.architecture} {recipe.size}×{recipe.size}, {images} images"
        print(f"{name:{width}}  {status:10}  {what}, {recipe.num_steps} steps")
    return 0


def _choose_recipes(args: argparse.Namespace) -> list[str]:
    """Return the recipes to train: those named or, with --all, of the profile, if not done."""
    from gahb_core import training

    if bool(args.names) == args.all:
        raise ValueError("name the recipes to train, or give --all (`gahb recipes` lists them)")
    table = training.RECIPES[args.profile]
    names = args.names or list(table)
    found = [fnmatch.filter(table, name) or [name] for name in names]  # a pattern, or a name
    names = list(dict.fromkeys(name for some in found for name in some))
    for name in names:
        training.find_recipe(name, args.profile)  # refuses what is not known
    status = {name: training.checkpoint_status(name, args.profile) for name in names}
    done = [name for name in names if status[name] == "trained" and not args.force]
    for name in done:
        print(f"{name}: already trained (--force trains it again)")
    return [name for name in names if name not in done]


def _choose_device(device: str) -> str:
    """Return `device`, where "auto" is a GPU if there is one.

    Raises:
        ValueError: for a device that is not there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).splitlines()[0].split(" If you")[0]
        raise ValueError(
            f"device must be one that is here, such as cpu, not {device!r}: {first}"
        ) from error
    return device


def _train_own(args: argparse.Namespace) -> int:
    """Train a network of a folder of images, from its saved state where there is one."""
    from gahb_core import data, training

    if args.names or args.all or args.executor != "local":
        raise ValueError("images must be given without recipes, --all or a cluster's executor")
    device = _choose_device(args.device)
    images = data.read_folder(args.images, args.size, args.channels)
    dataset = data.register_images(images, halves=args.halves)
    for split in ("A", "B") if args.halves else ("A",):
        recipe = training.own_recipe(dataset, args.network, num_steps=args.steps, split=split)
        card = training.paths(recipe.name, args.profile)[1]
        if card.exists() and not args.force:
            print(f"{recipe.name}: already trained (--force trains it again)")
            continue
        for p in training.train(recipe.name, args.profile, device, recipe):
            done = f"step {p.step}/{p.num_steps}, loss {p.loss:.4g}, {p.seconds:.0f} s"
            print(f"{recipe.name}: {done}", flush=True)
        print(f"{recipe.name}: gahb_core.training.load_own({recipe.name!r}, {args.profile!r})")
    return 0


def train_recipe(name: str, profile: str, device: str = "auto") -> None:
    """Train one recipe to its checkpoint, from its saved state where there is one."""
    from gahb_core import training

    for p in training.train(name, profile, _choose_device(device)):
        done = f"step {p.step}/{p.num_steps}, loss {p.loss:.4g}, {p.seconds:.0f} s"
        print(f"{name}: {done}", flush=True)


def _train_here(names: list[str], args: argparse.Namespace) -> int:
    """Train several recipes, each in a process of its own; return 1 if one failed."""
    command = [sys.executable, "-m", "gahb_book.cli", "train", "--profile", args.profile]
    command += ["--device", args.device, *(["--force"] if args.force else [])]
    commands = {name: [*command, name] for name in names}
    failed = []
    for event in run_processes(commands, args.jobs, share_cores(args.jobs)):
        if event.kind == "line":
            print(event.text, flush=True)
        elif event.kind == "end" and event.code:
            failed.append(event.name)
    for name in failed:
        print(f"gahb: {name} failed; `gahb train {name}` goes on from its saved state")
    return 1 if failed else 0


def _job_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return submitit's parameters of the cluster's options that are given."""
    given = {"gpus_per_node": args.gpus, "slurm_partition": args.partition}
    times = {"timeout_min": args.minutes, "requeues": args.requeues}
    return {**times, **{k: v for k, v in given.items() if v}}


def _train_cluster(names: list[str], args: argparse.Namespace) -> int:
    """Submit one job a recipe and wait for them; return 1 if one failed."""
    folder = _places(args).build / "jobs" / "recipes"
    arguments = {name: (name, args.profile, args.device) for name in names}
    failed = 0
    for name, end in run_on_cluster(
        train_recipe, arguments, folder, args.executor, print, **_job_options(args)
    ):
        failed += end.kind == "failed"
        print(f"{name}: {'trained' if end.kind == 'done' else f'failed: {end.detail}'}", flush=True)
    return 1 if failed else 0


def show_status(args: argparse.Namespace) -> int:
    """Print the jobs that were submitted to a cluster: pending, running, done or failed."""
    print(format_status(_places(args).build / "jobs"))
    return 0


def train(args: argparse.Namespace) -> int:
    """Train recipes to checkpoints: here, or as a job array."""
    if args.images:
        return _train_own(args)
    names = _choose_recipes(args)
    if args.executor == "local":  # else the device is the node's
        _choose_device(args.device)
    if names and args.executor != "local":
        return _train_cluster(names, args)
    if len(names) > 1:
        return _train_here(names, args)
    for name in names:
        train_recipe(name, args.profile, args.device)
    return 0


def examine_denoiser(
    denoiser: str, folders: dict[str, Path | None], out: Path, device: str, **options: Any
) -> None:
    """Write the report of a denoiser that is named, of folders of images, to `out`."""
    from gahb_book import examine as room

    f = room.load_function(denoiser)
    device = _choose_device(device)
    most = {"images": 2000, "samples": 10_000, "train": 100_000}
    found: dict[str, Any] = {
        name: None if folder is None else room.read_images(folder, most[name], name).to(device)
        for name, folder in folders.items()
    }
    say = partial(print, "gahb: ...", flush=True)
    examination = room.examine(f, found.pop("images"), name=denoiser, say=say, **found, **options)
    for path in room.write_report(examination, out, room.load_garments()):
        print(path)


def examine(args: argparse.Namespace) -> int:
    """Examine a denoiser of your own: checks, then the book's figures of it, as one page."""
    folders = {name: getattr(args, name) for name in ("images", "samples", "train")}
    options = {"sigma": args.sigma, "seed": args.seed, "num_samples": args.num_samples}
    if args.executor == "local":
        examine_denoiser(args.denoiser, folders, args.out, args.device, **options)
        return 0
    call = partial(examine_denoiser, **options)
    arguments = {args.denoiser: (args.denoiser, folders, args.out, args.device)}
    folder, failed = args.out / "jobs", 0
    ends = run_on_cluster(call, arguments, folder, args.executor, print, **_job_options(args))
    for name, end in ends:
        failed += end.kind == "failed"
        print(f"{name}: {end.detail if end.kind == 'failed' else args.out / 'report.html'}")
    return 1 if failed else 0


def fetch(args: argparse.Namespace) -> int:
    """Bring image sets, or the networks that the authors published, to the data folder."""
    from gahb_core import data
    from gahb_core.training import authors

    for dataset in args.datasets:
        if dataset != "authors":
            where: str | Path = data.fetch(dataset, args.size)
        elif args.size is None:
            where = authors.fetch_authors()
        else:
            raise ValueError(f"size must not be given for 'authors', which are files: {args.size}")
        print(f"{dataset}: {where}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Execute pages; skip what is done and unchanged."""
    places, variants = _places(args), parse_variants(args.parameter)
    if args.executor == "local":  # else the device is the node's
        for device in {str(v["device"]): 0 for v in variants if "device" in v}:
            _choose_device(device)
    os.environ |= {FRESH: "all"} if args.fresh else {}  # for the pages' processes
    outcomes = run_pages(
        places, args.pages, num_jobs=args.jobs, force=args.force or args.fresh,
        executor=args.executor, timeout=args.timeout, variants=variants, **_job_options(args),
    )  # fmt: skip
    print(format_report(outcomes, places))
    differs = _show_differences(places, args.pages) if args.fresh else False
    return 1 if differs or any(o.status == "failed" for o in outcomes) else 0


def _show_differences(places: Places, names: list[str]) -> bool:
    """Print which kept values differ from those computed anew; return whether any does."""
    from gahb_book.report.kept import list_differences  # here: torch takes seconds to load

    lines = list_differences(places, names)
    print("\n".join(lines) or "no kept value differs beyond its tolerance")
    return bool(lines)


def show_kept(args: argparse.Namespace) -> int:
    """List the values that are kept of pages, or bring those of this machine to book/kept."""
    from gahb_book.report import kept

    places = _places(args)
    if args.write:
        print("\n".join([*kept.write_kept(places, args.pages), "book/kept is written"]))
        return 0
    rows = kept.list_kept(places, args.pages)
    print(batches.format_rows(kept.Row._fields, rows, args.csv))
    states = [f"{sum(r.state == s for r in rows)} {s}" for s in sorted({r.state for r in rows})]
    size, seconds = sum(r.kB for r in rows) / 1e3, sum(r.seconds for r in rows)
    if not args.csv:
        print(f"{len(rows)} values, {size:.2f} MB, {seconds:.0f} s of processor: {states}")
    return 0


def write_toc(args: argparse.Namespace) -> int:
    """Write the table of contents, _toc.yml, from the list of pages."""
    print(write_contents(find_root(args.root)))
    return 0


def show_results(args: argparse.Namespace) -> int:
    """Print the figures of a batch's variants: mean, deviation and 95% interval over seeds."""
    spreads, stale = batches.collect_spreads(_places(args), args.pages)
    for name in stale:
        print(f"gahb: {name} is not counted: `gahb run` it again", file=sys.stderr)
    if not spreads:
        raise ValueError("no variant has run: begin with `gahb run PAGE -p seed=0:3`")
    print(batches.format_rows(batches.Spread._fields, spreads, args.csv))
    return 0


def compare(args: argparse.Namespace) -> int:
    """Compare the figures of two folders of results or variants; 1 where they differ by more."""
    tolerances = batches.load_tolerances(args.tolerances, args.rtol, args.atol)
    a, b = (batches.load_side(side, _places(args)) for side in (args.a, args.b))
    rows = batches.compare(a, b, tolerances)
    beyond = [row for row in rows if row.beyond]
    if not rows:
        raise ValueError(f"{args.a} and {args.b} must have a page in common, and have none")
    head = ("page", "figure", args.a, args.b, "difference", "allowed", "")
    shown = rows if args.all or args.csv else beyond
    table = [(*r[:4], r.difference, r.allowed, "beyond" * r.beyond) for r in shown]
    print(batches.format_rows(head, table, args.csv))
    if not args.csv:
        print(f"{len(rows)} figures, {len(beyond)} beyond their tolerances")
    return 1 if beyond else 0


def build(args: argparse.Namespace) -> int:
    """Build the HTML book from the executed pages."""
    try:
        print(_address(build_book(_places(args), args.force)))
    except RuntimeError as error:
        print(f"gahb: {error}", file=sys.stderr)
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, whatever they quote."""

    def error(self, message: str) -> NoReturn:
        super().error("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="gahb", description=__doc__)
    parser.add_argument("--root", type=Path, help="folder of the book (default: found from here)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(function: Callable, name: str, profile: bool = True) -> Callable:
        text = (function.__doc__ or "").replace("%", "%%")  # it is a format to argparse
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if profile:
            command.add_argument("--profile", choices=PROFILES, default="laptop")
        return command.add_argument

    add(show_recipes, "recipes")
    options.add_train_options(add(train, "train"))
    options.add_fetch_options(add(fetch, "fetch", profile=False), FETCHED)
    options.add_run_options(add(run, "run"))
    options.add_examine_options(add(examine, "examine", profile=False))
    add(write_toc, "toc", profile=False)
    add(show_status, "status")
    options.add_results_options(add(show_results, "results"))
    options.add_compare_options(add(compare, "compare"))
    options.add_kept_options(add(show_kept, "kept", profile=False))
    add(build, "build")("--force", action="store_true", help="also when nothing changed")
    return parser


def _leave_quietly() -> int:
    """Return the exit code after whoever read our output (head, less) went away."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed at exit
    return 141  # a shell's for a process that a closed pipe ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code: 0, 1 when work failed, 2 for a mistake in use."""
    for stream in (sys.stdout, sys.stderr):  # σ in a locale without it is a mark, and no end
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    args = make_parser().parse_args(argv)
    try:
        with term_as_interrupt():
            code = args.function(args)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        return _leave_quietly()
    except USER_ERRORS as error:
        print(f"gahb: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
