"""`python3 -m plots [--to DIR] RUN...`: draws every figure of a run into RUN/figures (or DIR), as SVG and PNG, and prints their paths.

An experiment names its page in this folder (`figure = "curves"`, the default):
a new kind of figure is one new file with a function draw(summary, name).
"""

import importlib
import json
import sys
from pathlib import Path

from plots import ratios, style


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
            if ratios.has_any(experiment):
                written += style.save(ratios.draw(summary, name), target / f"{name}-ratios")
    return written


def main(words: list[str]) -> None:
    target = None
    if words[:1] == ["--to"]:
        target, words = Path(words[1]), words[2:]
    if not words:
        sys.exit("usage: python3 -m plots [--to DIR] RUN...")
    for run in words:
        for path in draw_run(Path(run), target):
            print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
