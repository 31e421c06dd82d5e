"""`python3 -m plots RUN...`: draws every figure of a run into RUN/figures, as SVG and PNG, and prints their paths.

An experiment names its page in this folder (`figure = "curves"`, the default):
a new kind of figure is one new file with a function draw(summary, name).
"""

import importlib
import json
import sys
from pathlib import Path

from plots import style


def draw_run(run: Path, target: Path | None = None) -> list[Path]:
    """All figures of one run; the files written."""
    summary = json.loads((run / "derived" / "summary.json").read_text())
    target = target or run / "figures"
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, experiment in summary["experiments"].items():
        if experiment["arms"]:
            page = importlib.import_module(f"plots.{experiment['figure']}")
            written += style.save(page.draw(summary, name), target / name)
    return written


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python3 -m plots RUN...")
    for given in sys.argv[1:]:
        for path in draw_run(Path(given)):
            print(path)
