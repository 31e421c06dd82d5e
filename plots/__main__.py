"""`python3 -m plots RUN...`: draws every figure of a run into RUN/figures, as SVG and PNG, and prints their paths.

An experiment names its page in this folder (`figure = "curves"`, the default):
a new kind of figure is one new file with a function draw(summary, name).
"""

import argparse
import importlib
import json
from pathlib import Path

from plots import ratios, style, winners


def draw_run(run: Path, target: Path | None = None, suffixes: tuple[str, ...] = (".svg", ".png")) -> list[Path]:
    """All figures of one run; the files written."""
    summary = json.loads((run / "derived" / "summary.json").read_text())
    target = target or run / "figures"
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, experiment in summary["experiments"].items():
        if any(found["samples"]["ok"] for cell in experiment["cells"] for found in cell["arms"].values()):
            page = importlib.import_module(f"plots.{experiment['figure']}")
            written += style.save(page.draw(summary, name), target / name, suffixes)
            if experiment["panels"]:
                written += style.save(winners.draw(summary, name), target / f"{name}-winners", suffixes)
            if ratios.has_any(experiment):
                written += style.save(ratios.draw(summary, name), target / f"{name}-ratios", suffixes)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python3 -m plots",
        description="Draws every figure of a run from its derived data, and prints their paths.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path)
    parser.add_argument("--to", metavar="DIR", type=Path, help="default: RUN/figures")
    parser.add_argument("--svg", action="store_true", help="no PNG beside the SVG")
    options = parser.parse_args()
    for run in options.runs:
        for path in draw_run(run, options.to, (".svg",) if options.svg else (".svg", ".png")):
            print(path)


if __name__ == "__main__":
    main()
