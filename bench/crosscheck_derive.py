"""From the raw samples of a crosscheck to agreement: a pure function of its folder, that can be redone.

A tool is compared with the scene's first by ratios paired within blocks.  What a ratio shows is said by its whole 95 %
interval: agreement must be shown, as a difference must; what shows neither is "not shown".
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench import env, metrics, records, stats
from bench.metrics import dig

BANDS = (1.05, 1.10)


def client_cpu_us(record: dict) -> float | None:
    """CPU time of the client per request: ours over its window, a witness's over its whole life."""
    spent = dig(record, "load", "client", "cpu_ns_per_req")
    return None if spent is None else spent / 1e3


def reply_bytes(record: dict) -> float | None:
    received, done = dig(record, "load", "counts", "received_bytes"), dig(record, "load", "counts", "completed")
    ours = dig(record, "load", "counts", "warmup_ok")  # our generator counts the warm-up's bytes too
    return None if not received or not done else received / (done + (ours or 0))


# name: (what a reader calls it, unit, how it is read off a record)
METRICS: dict[str, tuple[str, str, Callable[[dict], float | None]]] = {
    "rps": ("throughput", "requests/s", metrics.throughput),
    "p50_us": ("p50", "µs", lambda record: metrics.latency_us(record, "p50")),
    "p99_us": ("p99", "µs", lambda record: metrics.latency_us(record, "p99")),
    "max_us": ("longest", "µs", lambda record: metrics.latency_us(record, "max")),
    "client_cpu_us": ("client CPU per request", "µs", client_cpu_us),
    "sent_p99_us": ("p99 from the send", "µs", lambda record: us(dig(record, "load", "latency_sent_ns", "p99"))),
    "corrected_p50_us": ("p50 corrected as wrk does", "µs", lambda record: us(dig(record, "corrected", "p50"))),
    "corrected_p99_us": ("p99 corrected as wrk does", "µs", lambda record: us(dig(record, "corrected", "p99"))),
    "reply_bytes": ("bytes of a reply", "bytes", reply_bytes),
    "server_busy": ("server CPU in use", "share", metrics.server_busy),
}
JUDGED = ("rps", "p50_us", "p99_us", "client_cpu_us")


def us(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e3


# --- wrk's correction ------------------------------------------------------------------------------------------------


def corrected_as_wrk(load: dict, connections: int) -> dict | None:
    """p50 and p99 (ns) of our closed-loop latencies after what wrk 4 does to its own before it prints them.

    wrk takes the mean time that a request occupies a connection, run time over requests per connection, for the pace
    at which requests should have come.  For each latency n beyond twice that pace it adds made-up ones, n less one
    pace, less two, and so on while they are above it, on top of those measured.  Source: wrk 4.1.0, src/stats.c,
    stats_correct(), and the end of main() in src/wrk.c.  This is how it looks from outside; no code is taken over.
    """
    bins = dig(load, "latency_sent_ns", "bins")
    done = dig(load, "counts", "completed")
    if not bins or not done or done < connections:
        return None
    values = np.array([smallest for smallest, _ in bins], dtype=float) / 1e3
    counts = np.array([count for _, count in bins], dtype=float)
    pace = max(1.0, load["window_ns"] / 1e3 / (done // connections))
    made_values, made_counts = [values], [counts]
    for value, count in zip(values, counts):
        if value >= 2 * pace:
            ghosts = np.arange(value - pace, pace, -pace)
            made_values.append(ghosts)
            made_counts.append(np.full(len(ghosts), count))
    every, weight = np.concatenate(made_values), np.concatenate(made_counts)
    order = np.argsort(every)
    ranks = np.cumsum(weight[order])
    at = {name: int(np.searchsorted(ranks, share * ranks[-1])) for name, share in (("p50", 0.5), ("p99", 0.99))}
    found = {name: float(every[order][min(index, len(order) - 1)] * 1e3) for name, index in at.items()}
    return found | {"made_up_share": float((ranks[-1] - counts.sum()) / ranks[-1])}


# --- agreement -------------------------------------------------------------------------------------------------------


def verdict(low: float, high: float) -> str:
    """What an interval of a ratio shows.  Agreement within a band: the whole interval inside (two one-sided tests,
    D. J. Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987) 657-680); a difference: all of it beyond the narrow band."""
    for band in BANDS:
        if 1 / band <= low and high <= band:
            return f"within {round(100 * (band - 1))} %"
    return "differs" if low > BANDS[0] or high < 1 / BANDS[0] else "not shown"


def compared(arm: dict[int, float], reference: dict[int, float]) -> dict | None:
    """The paired ratio of two columns of blocks, its interval and what it shows; None below two pairs."""
    blocks = sorted(arm.keys() & reference.keys())
    if len(blocks) < 2:
        return None
    ratio, low, high = stats.t_interval(stats.log_ratios([arm[b] for b in blocks], [reference[b] for b in blocks]))
    return {
        "ratio": clean(ratio),
        "low": clean(low),
        "high": clean(high),
        "blocks": len(blocks),
        "verdict": verdict(low, high),
    }


def clean(value: float) -> float:
    """Six significant digits: the same bytes on every machine."""
    return float(f"{value:.6g}")


def column(samples: Sequence[dict], metric: str) -> dict[int, float]:
    """Block -> value, where there is one above zero."""
    read = METRICS[metric][2]
    found = {record["block"]: read(record) for record in samples if record["status"] == "ok"}
    return {block: value for block, value in found.items() if value is not None and 0 < value < math.inf}


def of_tool(samples: Sequence[dict], reference: Sequence[dict], is_reference: bool) -> dict:
    """One tool in one scene: medians with intervals, ratios to the reference, what it printed in its middle sample."""
    values = {}
    for metric in METRICS:
        found = column(samples, metric)
        if found:
            median, low, high, _ = stats.median_interval(list(found.values()))
            values[metric] = {"median": clean(median), "low": clean(low), "high": clean(high), "n": len(found)}
    ratios = {metric: compared(column(samples, metric), column(reference, metric)) for metric in JUDGED}
    # wrk's percentiles also against ours after the same correction: like with like.
    for metric in ("p50_us", "p99_us"):
        ratios[f"corrected_{metric}"] = compared(column(samples, metric), column(reference, f"corrected_{metric}"))
    good = sorted((r for r in samples if r["status"] == "ok" and r["load"]), key=lambda r: r["load"]["achieved_rps"])
    middle = good[len(good) // 2] if good else {}
    return {
        "values": values,
        "ratios": {} if is_reference else {name: found for name, found in ratios.items() if found},
        "printed": dig(middle, "load", "printed") or {},
        "calls": next((r["calls"] for r in samples if "calls" in r), None),
        "made_up_share": dig(middle, "corrected", "made_up_share"),
        "samples": {
            status: sum(r["status"] == status for r in samples) for status in ("ok", "failed", "invalid", "unavailable")
        },
    }


def derive(folder: Path) -> dict:
    """The summary of a run."""
    told, samples = records.read_json(folder / "crosscheck.json"), records.read_samples(folder)
    by_place: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
    for record in samples:
        scene, tool = (part.partition("=")[2] for part in record["cell"].split(","))
        by_place[scene, record["arm"], tool].append(record)
    scenes = []
    for scene in told["scenes"]:
        columns = {tool: by_place[scene["name"], scene["server"], tool] for tool in scene["tools"]}
        reference = scene["tools"][0]
        tools = {
            tool: of_tool(found, columns[reference], tool == reference) for tool, found in columns.items() if found
        }
        scenes.append({**scene, "reference": reference, "measured": tools})
    return {
        "schema": records.SCHEMA,
        "run": told.get("run", folder.name),
        "blocks": told["blocks"],
        "environment": env.footer(records.read_json(folder / "env.json")),
        "versions": {name: found["version"] for name, found in told["tools"].items() if "version" in found},
        "labels": told["labels"],
        "metrics": {name: {"label": label, "unit": unit} for name, (label, unit, _) in METRICS.items()},
        "left_out": told["left_out"],
        "measured": len(samples),
        "failed": sum(record["status"] == "failed" for record in samples),
        "scenes": scenes,
    }


def write(folder: Path) -> dict:
    """Derives and keeps it: RUN/derived/summary.json."""
    summary = derive(folder)
    (folder / "derived").mkdir(exist_ok=True)
    records.write_json(folder / "derived" / "summary.json", summary)
    return summary


# --- the committed sample --------------------------------------------------------------------------------------------

KEPT = ("instrument", "valid", "bound", "window_ns", "achieved_rps", "target_rps", "watch", "host", "printed", "events")


def slim(record: dict) -> dict:
    """A record with what is derived from it and no more: the sample stays small, and derives to the same."""
    load = record["load"] or {}
    kept = {name: load[name] for name in KEPT if name in load}
    for name in ("latency_sent_ns", "latency_intended_ns"):
        told = load.get(name)
        kept[name] = told and {key: told.get(key) for key in ("n", "unfinished", "p50", "p99", "max")}
    kept["counts"] = {key: dig(load, "counts", key) for key in ("completed", "received_bytes", "warmup_ok")}
    kept["client"] = {key: dig(load, "client", key) for key in ("cpu_ns", "cpu_ns_per_req")}
    known = (
        "schema",
        "id",
        "experiment",
        "cell",
        "block",
        "arm",
        "started",
        "status",
        "why",
        "options",
        "placement",
        "corrected",
        "calls",
    )
    return {name: record[name] for name in known if name in record} | {
        "server": {"pids": dig(record, "server", "pids")},
        "load": kept if load else None,
    }


def take_sample(run: Path, target: Path) -> None:
    """Makes a run the committed sample of crosscheck."""
    target.mkdir(parents=True, exist_ok=True)
    about = records.read_json(run / "crosscheck.json")
    for tool in about["tools"].values():
        tool.pop("path", None)
    records.write_json(target / "crosscheck.json", {"run": run.name, **about})
    records.write_json(target / "env.json", records.read_json(run / "env.json"))
    lines = [
        json.dumps(slim(record), ensure_ascii=False, separators=(",", ":")) for record in records.read_samples(run)
    ]
    (target / "samples.jsonl").write_text("\n".join(lines) + "\n")
