"""Some of the book's own kept values, others at every commit, are computed anew and compared."""

import hashlib
import os
import subprocess
import sys

import pytest
from projects import ROOT

from gahb_book.kept.store import stores
from gahb_book.kept.uses import FRESH
from gahb_book.places import Places
from gahb_book.report import kept as report

SECONDS, PAGES = 30.0, 3  # of processor, as their cards say, and the pages that are run for them


def choose(cards, commit, seconds=SECONDS, num_pages=PAGES):
    """Return slots by page: in an order that the commit draws, up to so much work."""
    drawn = sorted(cards, key=lambda c: hashlib.sha256(f"{commit} {c.slot}".encode()).digest())
    chosen, spent = {}, 0.0
    for card in drawn:
        fits = card.page in chosen or len(chosen) < num_pages
        if fits and (not chosen or spent + card.seconds <= seconds):
            chosen.setdefault(card.page, []).append(card.slot)
            spent += card.seconds
    return chosen


def find_commit():
    words = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


@pytest.mark.pages
def test_a_part_of_what_is_kept_is_computed_anew(executed_pages):
    """What was stale or missing, the run of the pages has computed; this checks the rest."""
    sources, ship = report.kept_sources(ROOT), stores(ROOT)[0]
    chosen = choose([c for c in ship.cards() if report.is_current(c, sources)], find_commit())
    slots = ",".join(slot for some in chosen.values() for slot in some)
    if not chosen:
        return  # nothing of the book is kept, or all of it is stale
    command = [sys.executable, "-m", "gahb_book.cli", "--root", str(ROOT), "run", "--force"]
    done = subprocess.run([*command, *chosen], env={**os.environ, FRESH: slots}, check=False)
    assert done.returncode == 0
    differs = report.list_differences(Places(ROOT), list(chosen))
    assert not differs, "\n".join(differs)


def test_every_value_has_its_turn():
    class Card:
        def __init__(self, i):
            self.slot, self.page, self.seconds = f"f.{i}", f"p{i % 7}", 5.0

    cards = [Card(i) for i in range(40)]
    turns = [choose(cards, commit) for commit in range(60)]
    assert all(len(t) <= PAGES and sum(map(len, t.values())) <= 6 for t in turns)
    assert {slot for t in turns for some in t.values() for slot in some} == {c.slot for c in cards}
    assert choose(cards, "a") == choose(cards[::-1], "a") != choose(cards, "b")
    assert choose([], "a") == {}
