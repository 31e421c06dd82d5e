"""Where things are; the one place that knows the layout of the house."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "bench" / "experiments"
CLAIMS = ROOT / "bench" / "claims"
PROBES = ROOT / "bench" / "probes"
CONTENDERS = ROOT / "bench" / "contenders"
RATCHET = ROOT / "bench" / "ratchet"
SCHEMAS = ROOT / "bench" / "schema"
SAMPLE_RUN = ROOT / "results" / "sample"
CROSSCHECK_SAMPLE = SAMPLE_RUN / "crosscheck"


def build_dir() -> Path:
    """The build folder, as the Makefile's BUILD names it."""
    return (ROOT / os.environ.get("BUILD", "build")).resolve()


def results_dir(given: str | None) -> Path:
    """The folder that holds the runs: what --results says, else results/ here."""
    return Path(given).resolve() if given else ROOT / "results"


def shown(path: Path) -> str:
    """A path as a person would type it: relative where that is shorter."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def from_root(path: Path) -> str:
    """A path as records keep it: relative to the checkout where it lies inside, for records travel."""
    try:
        return str(path.resolve().relative_to(ROOT))
    except ValueError:
        return str(path)
