"""Derived data: the same bytes from the same records, right medians and ratios, nothing averaged that should not be."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import House

from bench import checked, derive, metrics, records, telemetry


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real run of the runner over fakes: poll costs 6 µs a request, epoll_lt 5, io_uring 4."""
    house = House(tmp_path_factory.mktemp("house")).servers("epoll_lt", "poll", "io_uring", "blocking", "invalidates")
    done = house.bench("run", house.experiment(blocks=3, rates="[1000, 4000]"), "--seed", "5")
    assert done.returncode == 3, done.stderr
    return house.run_folder()


def test_deriving_again_gives_the_same_bytes(run: Path) -> None:
    names = ["derived/summary.json", "derived/summary.tsv", "figures/test.svg", "figures/test.png"]
    before = {name: (run / name).read_bytes() for name in names}
    derive.write(run)
    from plots.__main__ import draw_run

    draw_run(run)
    assert {name: (run / name).read_bytes() for name in names} == before


def test_medians_ratios_and_leans(run: Path) -> None:
    cell = json.loads((run / "derived" / "summary.json").read_text())["experiments"]["test"]["cells"][1]
    assert cell["cell"] == "rate=4000"
    assert cell["arms"]["poll"]["values"]["server_cpu_us_per_req"] == {
        "median": 6.0, "low": 6.0, "high": 6.0, "coverage": 0.75, "n": 3
    }
    ratio = cell["arms"]["poll"]["ratios"]["server_cpu_us_per_req"]
    assert ratio["ratio"] == pytest.approx(1.2) and ratio["verdict"] == "leans behind" and ratio["blocks"] == 3
    assert cell["arms"]["io_uring"]["ratios"]["server_cpu_us_per_req"]["verdict"] == "leans ahead"
    assert "ratios" not in cell["arms"]["epoll_lt"], "the reference is not compared with itself"


def test_invalid_samples_have_no_median(run: Path) -> None:
    cell = derive.derive(run)["experiments"]["test"]["cells"][0]
    assert cell["arms"]["invalidates"]["samples"] == {"ok": 0, "failed": 0, "invalid": 3, "unavailable": 0}
    assert cell["arms"]["invalidates"]["values"]["server_cpu_us_per_req"] is None
    assert cell["left_out"] == {"blocking": "serves one client at a time"}


def test_twelve_blocks_give_verdicts_and_a_joint_quantile(run: Path, tmp_path: Path) -> None:
    """The same records, repeated as twelve blocks with a spread that is known."""
    for name in ("plan.json", "env.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with open(tmp_path / "samples.jsonl", "w") as file:
        for record in records.read_samples(run):
            if record["block"] == 0 and record["arm"] in ("poll", "epoll_lt"):
                for block in range(12):
                    noisy = json.loads(json.dumps(record)) | {"id": f"{record['id']}-{block}", "block": block}
                    noisy["load"]["watch"][0]["cpu_ns"] *= 1 + 0.01 * ((block * 7 + len(record["arm"])) % 5 - 2)
                    file.write(json.dumps(noisy) + "\n")
    ratio = derive.derive(tmp_path)["experiments"]["test"]["cells"][0]["arms"]["poll"]["ratios"][
        "server_cpu_us_per_req"
    ]
    assert ratio["verdict"] == "behind" and ratio["low"] < 1.2 < ratio["high"]


def test_a_record_twice_is_refused(run: Path, tmp_path: Path) -> None:
    for name in ("plan.json", "env.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    text = (run / "samples.jsonl").read_text()
    (tmp_path / "samples.jsonl").write_text(text + text.splitlines(keepends=True)[0])
    with pytest.raises(Exception, match="occurs twice"):
        derive.derive(tmp_path)


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_export_reads_back(run: Path, delimiter: str) -> None:
    text = derive.as_table(derive.derive(run), delimiter)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    poll = [r for r in rows if r["arm"] == "poll" and r["metric"] == "server_cpu_us_per_req"]
    assert [(r["x"], float(r["median"]), r["unit"]) for r in poll] == [("1000", 6.0, "µs"), ("4000", 6.0, "µs")]
    numpy_rows = np.genfromtxt(io.StringIO(text), delimiter=delimiter, names=True, dtype=None, encoding="utf-8")
    assert len(numpy_rows) == len(rows)


def fields_of(rules: dict) -> dict[str, dict]:
    """Every field that a schema describes, with its rules, down to the leaves."""
    found = {}
    for name, inner in rules.get("properties", {}).items():
        found |= {name: inner, **fields_of(inner)}
    return found


def test_every_record_fits_the_schema_and_every_field_of_it_is_documented(run: Path) -> None:
    for record in records.read_samples(run):
        checked.jsonschema.validate(record, checked.schema("sample"))
    text = (Path(__file__).resolve().parents[2] / "results" / "README.md").read_text()
    assert {field for field in fields_of(checked.schema("sample")) if f"`{field}`" not in text} == set()


def test_every_figure_of_a_record_has_a_unit_and_a_source_and_may_be_null_where_it_is_read_from_the_host() -> None:
    rules = checked.schema("sample")["properties"]
    assert set(rules["telemetry"]["properties"]) == set(telemetry.snapshot())
    for name, field in {**rules["telemetry"]["properties"], **rules["server"]["properties"]["life"]["properties"]}.items():
        assert field["unit"] and field["source"], name
    for name in [*rules["telemetry"]["properties"]]:
        assert "null" in rules["telemetry"]["properties"][name]["type"], name
    for name in fields_of(checked.schema("sample")):
        if name.rsplit("_", 1)[-1] in ("ns", "us", "kib", "s"):
            assert fields_of(checked.schema("sample"))[name]["unit"] == {"kib": "KiB"}.get(name.rsplit("_", 1)[-1], name.rsplit("_", 1)[-1])


def test_metrics_never_guess() -> None:
    for metric in metrics.METRICS.values():
        assert metric.read({}) is None
        assert metric.read({"load": None, "server": {}, "options": {}, "placement": {}}) is None


def overloaded(p99: float | None, unfinished: int, longest: float = 8e6) -> dict:
    latency = {"n": 100, "unfinished": unfinished, "p50": 5e4, "p99": p99, "max": longest}
    return {"options": {"mode": "open"}, "load": {"latency_intended_ns": latency}}


def test_percentile_of_requests_never_answered_is_infinite_and_shown_as_beyond_the_longest() -> None:
    assert metrics.latency_us(
        overloaded(9e5, 3), "p99"
    ) == 900.0, "few unfinished requests lie above the 99th percentile"
    assert metrics.latency_us(overloaded(None, 40), "p99") == float("inf")
    found = derive.of_metric([overloaded(None, 40, 7e6), overloaded(None, 40, 8e6), overloaded(9e5, 1)], "p99_us")
    assert found is not None and found["median"] is None and found["above"] == 8000.0
    json.dumps(found, allow_nan=False)
    mostly_fine = derive.of_metric([overloaded(None, 40), overloaded(9e5, 1), overloaded(7e5, 1)], "p99_us")
    assert mostly_fine is not None and mostly_fine["median"] == 900.0 and mostly_fine["high"] is None


def limit_of(
    server_ns: float, client_ns: float, wait: str = "block", bound: str = "neither", idle_ns: float = 5e8
) -> str:
    load = {
        "bound": bound,
        "window_ns": 1e9,
        "counts": {"completed": 1000},
        "client": {"cpu_ns": client_ns},
        "watch": [{"pid": 7, "cpu_ns": server_ns}],
        "host": {"window_ns": 1e9, "cpus": [{"cpu": 1, "idle_ns": idle_ns}]},
    }
    return metrics.limit(
        {"load": load, "server": {"pids": [7]}, "options": {"wait": wait}, "placement": {"server": [1]}}
    )


def test_capacity_is_claimed_only_of_a_full_server_with_a_free_client() -> None:
    assert limit_of(0.98e9, 0.5e9) == "server"
    assert limit_of(0.98e9, 0.95e9) == "client"
    assert limit_of(0.60e9, 0.5e9) == "neither"
    assert limit_of(0.85e9, 0.5e9, idle_ns=1e7) == "server", "the rest went to the kernel on its behalf"
    assert limit_of(0.30e9, 0.5e9, idle_ns=0) == "neither", "other programs filled its CPU"
    assert limit_of(0.98e9, 1e9, wait="spin") == "server", "a spinning client is always busy"
    assert limit_of(0.98e9, 1e9, wait="spin", bound="client") == "client", "unless the load generator says so"
