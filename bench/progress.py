"""What runs, what is left, when it ends: a live line on a terminal, a plain line per sample elsewhere.

Nothing is drawn while a window is measured: the runner calls in between samples.
"""

import math
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench import metrics
from bench.plan import Plan, Sample, expected_s
from bench.units import format_seconds


class Progress:
    """Keeps the time; says nothing."""

    def start(self, plan: Plan, done: int) -> None:
        self.total, self.done, self.failed = len(plan.samples), done, 0
        self.left_s = sum(expected_s(s) for s in plan.samples[done:])
        self.pace, self.begun = 1.0, time.monotonic()
        self.planned_so_far = 0.0
        self.show("")

    def begin(self, sample: Sample) -> None:
        self.sample = sample
        self.show(f"{sample.experiment} {sample.cell}  {sample.arm}  block {sample.block + 1}")

    def end(self, record: dict) -> None:
        planned = expected_s(self.sample)
        self.done += 1
        self.failed += record["status"] == "failed"
        self.left_s -= planned
        self.planned_so_far += planned
        self.pace = (time.monotonic() - self.begun) / self.planned_so_far

    @property
    def remaining_s(self) -> float:
        """Seconds to go: the plan's own estimate, corrected by how it has kept to it so far."""
        return max(0.0, self.left_s * self.pace)

    def show(self, what: str) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Progress):
    """One line per finished sample, for pipes, logs and CI."""

    def __init__(self, write: Callable[[str], object] = sys.stdout.write):
        self.write = write

    def end(self, record: dict) -> None:
        super().end(record)
        count = f"{self.done:>{len(str(self.total))}}/{self.total}"
        self.write(f"[{count}] {outcome(record)}  ({format_seconds(self.remaining_s)} left)\n")
        sys.stdout.flush()


class Bar(Progress):
    """A bar and the current sample on a terminal, redrawn only between samples."""

    def __init__(self, console: Console):
        self.console = console
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def start(self, plan: Plan, done: int) -> None:
        self.live.start()
        super().start(plan, done)

    def end(self, record: dict) -> None:
        super().end(record)
        if record["status"] != "ok":
            self.live.console.print(Text(outcome(record), style="red" if record["status"] == "failed" else "yellow"))

    def show(self, what: str) -> None:
        width = 24
        full = round(width * self.done / self.total) if self.total else width
        ends = (datetime.now() + timedelta(seconds=self.remaining_s)).strftime("%H:%M:%S")
        text = Text.assemble(
            ("━" * full, "green"),
            ("━" * (width - full), "bright_black"),
            f" {self.done}/{self.total}  ",
            (what, "bold"),
            f"   {format_seconds(self.remaining_s)} left, until {ends}",
            overflow="ellipsis",
            no_wrap=True,
        )
        self.live.update(text, refresh=True)

    def close(self) -> None:
        self.live.stop()


def outcome(record: dict) -> str:
    """One sample in one line."""
    where = f"{record['experiment']} {record['cell']}  {record['arm']}  block {record['block'] + 1}"
    if record["status"] != "ok":
        words = f" | last words: {record['last_words'].splitlines()[-1]}" if record["last_words"] else ""
        return f"{where}  {record['status'].upper()}: {record['why']}{words}"
    if record["load"] is None:  # a probe, arrivals or a count: what it showed is more than a line
        return f"{where}  done in {record['elapsed_ns'] / 1e9:.2f} s"
    cpu, rate, p99 = (
        metrics.METRICS[name].read(record) for name in ("server_cpu_us_per_req", "throughput_rps", "p99_us")
    )
    said = [f"{cpu:.4g} µs CPU per request"] if cpu is not None else []
    said += [f"{rate:.0f} requests/s"] if rate is not None else []
    said += [f"p99 {p99:.4g} µs" if math.isfinite(p99) else "p99 beyond measure"] if p99 is not None else []
    return f"{where}  {', '.join(said)}"


def choose(console: Console, quiet: bool = False) -> Progress:
    if quiet:
        return Progress()
    return Bar(console) if console.is_terminal else Lines()
