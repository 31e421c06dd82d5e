"""What there is: models, experiments, metrics, runs."""

import argparse
import json
import resource
from pathlib import Path

from rich.table import Table

from bench import arms, available, contenders, experiment, metrics_more, paths, records
from bench.plan import expected_s, make
from bench.units import format_seconds

KINDS = ("models", "contenders", "experiments", "metrics", "runs")



def add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("what", nargs="?", choices=KINDS, default="models")


def table(kind: str, results: Path) -> Table:
    columns, rows = {
        "models": models, "contenders": contender_rows, "experiments": experiments, "metrics": metric_rows
    }.get(kind, lambda: runs(results))()
    out = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        out.add_column(column, overflow="fold")
    for row in rows:
        out.add_row(*row)
    return out


def models() -> tuple[list[str], list[list[str]]]:
    """Every page in servers/, those among them that were left out of the build or cannot run here."""
    rows = []
    for model in available.every():
        row = arm_rows([model.arm])[0] if model.arm else [model.name, "–", "–", model.thesis]
        rows.append([row[0], model.here, *row[1:]])
    return ["model", "on this host", "protocols", "clients at once", "how it waits"], rows


def contender_rows() -> tuple[list[str], list[list[str]]]:
    return [
        "contender", "protocols", "clients at once", "how it waits"
    ], arm_rows(list(map(contenders.load, contenders.files())))


def arm_rows(found: list[arms.Arm]) -> list[list[str]]:
    rows = []
    for arm in found:
        at_once = "as many as descriptors allow" if arm.clients_at_once is None else str(arm.clients_at_once)
        rows.append([arm.name, ", ".join(arm.protocols), at_once, arm.thesis])
    return rows


def experiment_files() -> list[Path]:
    return sorted(paths.EXPERIMENTS.glob("*.toml"))


def experiments() -> tuple[list[str], list[list[str]]]:
    built, fd_limit = arms.models() if arms.model_names() else [], resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    rows = []
    for path in experiment_files():
        found = experiment.load(path)
        times = []
        for profile in ("quick", "full"):
            if profile in found.profiles and built:
                samples = make([found], {found.name: planned(found, built)}, {}, profile, 0, fd_limit).samples
                times.append(format_seconds(sum(map(expected_s, samples))))
            else:
                times.append("–")
        rows.append([found.name, *times, found.question])
    return ["experiment", "quick", "full", "question"], rows


def planned(found: experiment.Experiment, built: list[arms.Arm]) -> list[arms.Arm]:
    """The experiment's own models, of those that are built."""
    wanted = found.arms.get("models", "all")
    return [arm for arm in built if wanted == "all" or arm.name in wanted]


def metric_rows() -> tuple[list[str], list[list[str]]]:
    """Those of experiments, then those that only claims name; metrics_more.py has the grammar of the rest."""
    found = [metrics_more.find(name) for name in metrics_more.names()]
    return ["metric", "unit", "better", "what"], [[m.name, m.unit, m.better, m.label] for m in found]


def runs(results: Path) -> tuple[list[str], list[list[str]]]:
    rows = []
    for folder in records.runs(results):
        plan = json.loads((folder / "plan.json").read_text())
        done = len(records.read_samples(folder))
        what = f"{len(plan['claims'])} claims" if "claims" in plan else ", ".join(plan["experiments"])
        rows.append([folder.name, plan["profile"], what, f"{done} of {len(plan['samples'])}"])
    return ["run", "profile", "experiments", "samples"], rows
