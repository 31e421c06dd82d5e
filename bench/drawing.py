"""Figures are drawn by plots/, in a process of its own that reads derived data only."""

import subprocess
import sys
from pathlib import Path

from bench import paths
from bench.errors import BenchError


def drawn(module: str, *words: str | Path) -> list[Path]:
    """Runs a module of plots/ with these words; the figures that it says it wrote."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchError(f"the figures could not be drawn: {last}")
    return [Path(line) for line in done.stdout.splitlines()]
