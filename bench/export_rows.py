"""What exports show: one row for each figure of a run or of a gate, whatever made it."""

from dataclasses import dataclass
from pathlib import Path

from bench import derive, env, ratchet, records
from bench.history_lines import named


@dataclass(frozen=True)
class Row:
    """One figure.  `verdict`: worse, better, moved, same, failed (no good sample) or absent (could not be run here)."""

    suite: str
    cell: str
    arm: str
    metric: str
    unit: str
    better: str  # higher or lower
    value: float | None
    low: float | None = None
    high: float | None = None
    verdict: str = "same"
    says: str = ""

    @property
    def name(self) -> str:
        return f"{self.suite}/{self.cell} {self.arm}"


@dataclass(frozen=True)
class Export:
    run: str
    environment: str
    verdict: str
    rows: list[Row]


OTHERS = ("compare.json", "gate.json")  # beside plan.json: what makes a folder a record


def find(results: Path, name: str | None, others: tuple[str, ...] = OTHERS) -> Path:
    """A run as records.find knows it, or a comparison's or a gate's record, by path or by name; else the newest."""
    for folder in [Path(name), results / name] if name else []:
        if any((folder / file).is_file() for file in OTHERS):
            return folder.resolve()
    if name:
        return records.find(results, name)
    marks = [path for file in ("plan.json", *others) for path in results.glob(f"*/{file}")]
    newest = max(marks, key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.parent if newest else records.find(results, None)


def read(folder: Path) -> Export:
    if (folder / "gate.json").is_file():
        return of_gate(records.read_json(folder / "gate.json"))
    if (folder / "compare.json").is_file():
        return of_comparison(records.read_json(folder / "verdict.json"), folder)
    return of_run(derive.derive(folder))


# --- a run of experiments ---------------------------------------------------------------------------------------------


def of_run(summary: dict) -> Export:
    rows = []
    for name, experiment in summary["experiments"].items():
        for cell in experiment["cells"]:
            for arm, found in cell["arms"].items():
                for metric in experiment["metrics"]:
                    rows.append(of_metric(summary["metrics"][metric], name, cell["cell"], arm, metric, found))
            for arm, why in cell["left_out"].items():
                rows.append(
                    Row(
                        name,
                        cell["cell"],
                        arm,
                        "samples",
                        "",
                        "higher",
                        None,
                        verdict="absent",
                        says=f"left out: {why}",
                    )
                )
    bad = summary["failed"] + summary["invalid"]
    verdict = f"{summary['measured']} of {summary['planned']} samples" + (f", {bad} failed or invalid" if bad else "")
    return Export(summary["run"], summary["environment"], verdict, rows)


def of_metric(about: dict, suite: str, cell: str, arm: str, metric: str, found: dict) -> Row:
    value = found["values"].get(metric)
    place = (suite, cell, arm, metric, about["unit"], about["better"])
    if not value or value["median"] is None:
        samples = found["samples"]
        if value:  # longer than all that was measured
            return Row(
                *place,
                None,
                verdict="absent",
                says=f"over {value['above']:.6g} {about['unit']}: most requests were not answered",
            )
        verdict = "failed" if samples["failed"] or samples["invalid"] else "absent"
        return Row(*place, None, verdict=verdict, says=found["why"] or "this metric cannot be read here")
    ratio = (found.get("ratios") or {}).get(metric)
    told = f"×{ratio['ratio']:.3f} of the reference: {ratio['verdict']}" if ratio else ""
    return Row(*place, value["median"], value["low"], value["high"], says=told)  # behind a neighbour is no regression


# --- a comparison -----------------------------------------------------------------------------------------------------

COMPARED = {"REGRESSED": "worse", "IMPROVED": "better", "PASS": "same", "INCONCLUSIVE": "moved"}


def of_comparison(told: dict, folder: Path) -> Export:
    """B over A as a ratio, of which less is better, for every figure of every contest."""
    rows = []
    for one in told["found"]:
        model, _, cell = one["contest"].partition("/")
        arm, _ = named(model, told["sides"]["B"])
        place = ("compare", cell, arm, one["metric"], "ratio B/A", "lower")
        says = f"{one['verdict']}{': ' if one['note'] else ''}{one['note']}"
        if told["verdict"] == "CONTAMINATED":  # nothing is said of the commit
            rows.append(Row(*place, None, verdict="absent", says=told["why"]))
            continue
        rows.append(Row(*place, one["ratio"], one["low"], one["high"], COMPARED.get(one["verdict"], "failed"), says))
    for one in told["missing"]:
        model, _, cell = one["contest"].partition("/")
        rows.append(Row("compare", cell, model, "figures", "", "lower", None, verdict="failed", says=one["why"]))
    a, b = (told["sides"][side]["shown"] for side in ("A", "B"))
    return Export(
        told["run"], env.footer(records.read_json(folder / "env.json")), f"{told['verdict']}, {b} against {a}", rows
    )


# --- a gate -----------------------------------------------------------------------------------------------------------


def of_gate(told: dict) -> Export:
    changes = {(c["model"], c["kind"], c["case"], c["name"]): c for c in told["changes"]}
    rows = []
    for model, found in told["models"].items():
        for kind, cases in found["figures"].items():
            for case, values in cases.items():
                for name in sorted({*values, *(n for m, k, c, n in changes if (m, k, c) == (model, kind, case))}):
                    change = changes.get((model, kind, case, name))
                    rows.append(of_figure(model, kind, case, name, values.get(name, 0.0), change))
    for line in told["missing"]:
        what, _, why = line.partition(": ")
        rows.append(
            Row("missing", what, what.split()[0], "figures", "", "lower", None, verdict="failed", says=why or line)
        )
    against = f" against {told['baseline']}" if told["baseline"] else "; there was no baseline, so nothing was judged"
    return Export(told["run"], told["environment"], f"{told['verdict']}{against}", rows)


def of_figure(model: str, kind: str, case: str, name: str, value: float | list[float], change: dict | None) -> Row:
    pair = value if isinstance(value, list) else [None, None]
    verdict, says = (change["verdict"], change["says"]) if change else ("same", "")
    return Row(kind, case, model, name, ratchet.UNITS[kind], "lower", ratchet.middle(value), *pair, verdict, says)
