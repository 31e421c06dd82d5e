"""Progress: what runs, what is left and when it ends; a live line on a terminal, plain lines elsewhere."""

import io

import pytest
from rich.console import Console

from bench import progress
from bench.plan import Plan, Sample

OPTIONS = {"connections": 2, "warmup": "1s", "duration": "9s"}


def plan(count: int) -> Plan:
    samples = [Sample(f"e/rate=1/{i}/poll", "e", "rate=1", i, "poll", "arm", OPTIONS, {}) for i in range(count)]
    return Plan("quick", 1, {}, {}, samples, [])


def record(sample: Sample, **changes) -> dict:
    ok = {
        "experiment": sample.experiment,
        "cell": sample.cell,
        "arm": sample.arm,
        "block": sample.block,
        "status": "ok",
        "why": None,
        "last_words": None,
    }
    return ok | {"load": {"achieved_rps": 1000.0}} | changes


def walk(shown: progress.Progress, made: Plan, **changes) -> None:
    shown.start(made, 0)
    for sample in made.samples:
        shown.begin(sample)
        shown.end(record(sample, **changes))
    shown.close()


def test_lines_count_up_and_time_counts_down() -> None:
    lines: list[str] = []
    walk(progress.Lines(lines.append), plan(3))
    assert [line.split("]")[0] for line in lines] == ["[1/3", "[2/3", "[3/3"]
    assert "1000 requests/s" in lines[0] and lines[-1].endswith("(0 s left)\n")
    assert "\x1b" not in "".join(lines)


def test_remaining_time_follows_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown, made = progress.Progress(), plan(10)
    shown.start(made, 0)
    assert shown.remaining_s == pytest.approx(10 * progress.expected_s(made.samples[0]))
    shown.begin(made.samples[0])
    clock[0] += 2 * progress.expected_s(made.samples[0])  # this host takes twice as long
    shown.end(record(made.samples[0]))
    assert shown.remaining_s == pytest.approx(9 * 2 * progress.expected_s(made.samples[0]))


def test_resumed_run_counts_what_was_done_before() -> None:
    lines: list[str] = []
    shown, made = progress.Lines(lines.append), plan(3)
    shown.start(made, 2)
    shown.begin(made.samples[2])
    shown.end(record(made.samples[2]))
    assert lines[0].startswith("[3/3]")


def test_terminal_gets_a_bar_with_model_cell_block_and_end() -> None:
    screen = io.StringIO()
    walk(progress.Bar(Console(file=screen, force_terminal=True, width=120)), plan(2))
    assert "rate=1  poll  block 2" in screen.getvalue() and "left, until" in screen.getvalue() and "━" in screen.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = io.StringIO()
    walk(progress.Bar(Console(file=screen, force_terminal=True, width=120)), plan(1))
    assert "\x1b[3" not in screen.getvalue(), "no colour; moving the cursor is allowed"


@pytest.mark.parametrize("shown", [progress.Lines, None])
def test_a_failure_is_shown_with_last_words(shown) -> None:
    lines: list[str] = []
    screen = io.StringIO()
    one = progress.Lines(lines.append) if shown else progress.Bar(Console(file=screen, force_terminal=True, width=160))
    walk(one, plan(1), status="failed", why="the server was killed by SIGSEGV", last_words="first\nowed > 0")
    said = "".join(lines) + screen.getvalue()
    assert "FAILED: the server was killed by SIGSEGV" in said and "owed > 0" in said
