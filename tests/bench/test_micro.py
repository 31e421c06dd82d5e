"""The wait alone: build/micro tells the truth about what it timed, and the fit recovers what it is given."""

import json
import subprocess

import numpy as np
import pytest
from rich.console import Console

from bench import micro, paths, records
from bench.errors import UsageError

PROGRAM = paths.build_dir() / "micro"
WAYS = micro.ways() if PROGRAM.exists() else []


def timed(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["socketpair", "pipe"])
def test_every_way_tells_exactly_what_is_ready(way: str, kind: str) -> None:
    """The program compares what a wait told with what was written in every round, and exits 1 where they differ."""
    for watched, ready in ((1, 1), (400, 1), (400, 300), (400, 400)):
        done = timed("--way", way, "--kind", kind, "--watched", watched, "--ready", ready, "--for", 1)
        if done.returncode == 77:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["way"], told["watched"], told["ready"]) == (way, watched, ready)
        assert told["rounds"] >= 20
        for part in micro.PARTS:
            assert 0 < told[f"{part}_ns"]["p25"] <= told[f"{part}_ns"]["p50"] <= told[f"{part}_ns"]["p75"]


def test_a_wait_of_poll_grows_with_the_watched_and_epolls_does_not() -> None:
    """Two thousand idle descriptors are a hundred times the cost of reading a clock: load does not hide that."""

    def growth(way: str) -> float:
        few, many = (
            json.loads(timed("--way", way, "--watched", n, "--ready", 1, "--for", 30).stdout)["wait_ns"]["p50"]
            for n in (10, 2000)
        )
        return many / few

    assert growth("poll") > 10
    assert growth("epoll_lt") < 8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--way is missing"),
        (("--way", "pol"), "there is no pol"),
        (("--way", "poll", "--watched", "0"), "from 1 to"),
        (("--way", "poll", "--watched", "5", "--ready", "6"), "--ready exceeds --watched"),
        (("--way", "poll", "--kind", "tcp"), "expected pipe or socketpair"),
        (("--way", "poll", "--watched", "90000"), "at most"),
        (("--way", "poll", "more"), "there is no argument more"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(words: tuple[str, ...], said: str) -> None:
    done = timed(*words)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_the_fit_recovers_known_prices() -> None:
    at = micro.cells(9000)
    times = [300 + 12.5 * cell.watched + 80 * cell.ready for cell in at]
    assert micro.fit(at, times) == pytest.approx([300, 12.5, 80], rel=1e-6)


def test_the_interval_of_a_price_covers_the_truth_at_its_nominal_rate() -> None:
    """Medians of seven blocks with 3 % noise: the bootstrap's intervals for c1 hold in most of sixty draws.

    A percentile bootstrap of so few blocks is somewhat too narrow; the bound is binomial for a coverage of 85 %.
    """
    rng, covered = np.random.default_rng(5), 0
    for _ in range(60):
        values = {
            cell: {"wait": (300 + 12.5 * cell.watched + 80 * cell.ready) * rng.lognormal(0, 0.03, 7)}
            for cell in micro.cells(3000)
        }
        _, low, high = micro.price(micro.Way("drawn", values), resamples=200).c1
        covered += low <= 12.5 <= high
    assert covered >= 44


def test_a_run_is_kept_and_agrees_with_itself(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(micro, "WATCHED", (1, 20))
    monkeypatch.setattr(micro, "MILLISECONDS", 1)
    console = Console(record=True, width=160)
    folder = micro.run(console, tmp_path, "poll,epoll_lt", "pipe", blocks=2, seed=3)
    kept = records.read_samples(folder)
    assert len(kept) == 2 * 2 * len(micro.cells(9000))
    assert {record["way"] for record in kept} == {"poll", "epoll_lt"}
    micro.show(console, folder)
    assert (folder / "figures" / "micro.svg").stat().st_size > 1000
    assert micro.agree(console, folder, folder)
    assert "100%" in console.export_text()


def test_an_unknown_way_is_named_with_the_nearest(tmp_path) -> None:
    with pytest.raises(UsageError, match="epol.*did you mean poll"):
        micro.run(Console(quiet=True), tmp_path, "epol", "pipe", blocks=1, seed=1)
    assert not list(tmp_path.iterdir())
