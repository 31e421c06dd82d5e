"""Exports against the documented rules of each format, written down from the sources that bench/exports.py names."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT, Inside

from bench import export_rows, exports, ratchet
from bench.errors import UsageError
from bench.export_rows import Export, Row

SAMPLE = ROOT / "results" / "sample"
NASTY = 'a | b <i>&"\x00\x1b[31m\nnext'

# README of github-action-benchmark, custom tools: name, unit and value are required, range and extra are optional
# strings; the array may not be empty (src/extract.ts: "No benchmark result was found").
CUSTOM = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "unit", "value"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "unit": {"type": "string", "minLength": 1},
            "value": {"type": "number"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
    },
}
# bencher.dev, Bencher Metric Format: benchmark -> measure -> value, lower_value, upper_value; a benchmark's name has at
# most 1024 characters, a measure's slug at most 64, and a slug is lower-case words joined by hyphens.
BENCHER = {
    "type": "object",
    "minProperties": 1,
    "propertyNames": {"minLength": 1, "maxLength": 1024},
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 64},
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "required": ["value"],
            "properties": {name: {"type": "number"} for name in ("value", "lower_value", "upper_value")},
        },
    },
}
# The Jenkins xUnit schema: which elements stand in which, with which attributes (required ones first).
JUNIT = {
    "testsuites": ((), ("name", "time", "tests", "failures", "errors"), ("testsuite",)),
    "testsuite": (
        ("name", "tests", "failures", "errors"),
        ("group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"),
        ("testsuite", "properties", "testcase", "system-out", "system-err"),
    ),
    "testcase": (
        ("name",),
        ("classname", "time", "group"),
        ("skipped", "error", "failure", "system-out", "system-err"),
    ),
    "failure": ((), ("type", "message"), ()),
    "error": ((), ("type", "message"), ()),
    "skipped": ((), ("type", "message"), ()),
    "system-out": ((), (), ()),
}


def of_a_gate() -> Export:
    change = ratchet.Change("epoll_lt", "calls", "echo", "fcntl", None, 1.0, "worse")
    told = {
        "run": "a-gate",
        "environment": "a host",
        "verdict": "REGRESSED",
        "baseline": "bench/ratchet/x.json",
        "models": {
            "epoll_lt": {
                "figures": {
                    "calls": {"echo": {"fcntl": 1.0, "futex": [2.0, 3.0]}},
                    "memory": {"echo": {"private dirty": 310.0}},
                }
            }
        },
        "changes": [vars(change) | {"says": change.says()}],
        "missing": ["io_uring echo: no calls could be counted"],
    }
    return export_rows.of_gate(told)


def nasty() -> Export:
    rows = [
        Row("s", "c", "arm", "p99_us", "µs", "lower", 1.5, 1.0, 2.0, "worse", NASTY),
        Row("s", "c", "arm", "throughput_rps", "requests/s", "higher", 9.0, says=NASTY),
        Row("s", "c", "other", "p99_us", "µs", "lower", None, verdict="failed", says=NASTY),
        Row("s", "c", "third", "p99_us", "µs", "lower", None, verdict="absent", says="left out"),
    ]
    return Export("run", NASTY, "REGRESSED", rows)


def of_a_comparison(verdict: str = "REGRESSED") -> Export:
    sides = {
        letter: {"kind": "contender", "word": f"./mine@{letter}.toml", "shown": f"mine@{letter}"} for letter in "AB"
    }
    one = {
        "contest": "contender/rate=10000",
        "metric": "p50_us",
        "verdict": "REGRESSED",
        "note": "",
        "ratio": 1.1,
        "low": 1.08,
        "high": 1.12,
    }
    unsure = one | {
        "metric": "server_cpu_us_per_req",
        "verdict": "INCONCLUSIVE",
        "note": "no complete quad",
        "ratio": None,
        "low": None,
        "high": None,
    }
    missing = [{"contest": "contender/size=9", "side": "A", "why": "A: cannot"}]
    about = {"run": "r", "verdict": verdict, "why": "the control moved"}
    told = {**about, "sides": sides, "found": [one, unsure], "missing": missing}
    return export_rows.of_comparison(told, SAMPLE)


EXPORTS = {
    "a run": lambda: export_rows.read(SAMPLE),
    "a gate": of_a_gate,
    "a comparison": of_a_comparison,
    "nasty words": nasty,
}
every = pytest.mark.parametrize("make", EXPORTS.values(), ids=EXPORTS)


@every
def test_github_action_benchmark(make) -> None:
    export = make()
    sides = {side: exports.entries(export, side) for side in exports.SIDES}
    for found in filter(None, sides.values()):
        jsonschema.validate(found, CUSTOM)
        assert len({entry["name"] for entry in found}) == len(found), "a chart is found by its name"
    assert sum(map(len, sides.values())) == sum(row.value is not None for row in export.rows)


def test_bigger_and_smaller_never_share_a_file(tmp_path: Path, inside: Inside) -> None:
    done = inside("export", str(SAMPLE), "--format", "github-action-benchmark", "--to", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    bigger, smaller = (json.loads((tmp_path / "out" / name).read_text()) for name in exports.SIDES.values())
    assert {entry["unit"] for entry in bigger} == {"requests/s"}
    assert "µs" in {entry["unit"] for entry in smaller} and "requests/s" not in {entry["unit"] for entry in smaller}
    assert "customBiggerIsBetter" in done.stdout and "customSmallerIsBetter" in done.stdout
    refused = inside("export", str(SAMPLE), "--format", "github-action-benchmark")
    assert refused.returncode == 2 and "add --to DIR" in refused.stderr


@every
def test_bencher(make) -> None:
    export = make()
    found = json.loads(exports.bencher(export), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    jsonschema.validate(found, BENCHER)
    assert sum(map(len, found.values())) == sum(row.value is not None for row in export.rows)
    for measures in found.values():
        for told in measures.values():
            assert told.get("lower_value", told["value"]) <= told["value"] <= told.get("upper_value", told["value"])


def obeys(element: ElementTree.Element) -> None:
    required, optional, children = JUNIT[element.tag]
    assert set(required) <= set(element.attrib) <= {*required, *optional}, element.attrib
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        obeys(child)


@every
def test_junit(make) -> None:
    export = make()
    text = exports.junit(export)
    root = ElementTree.fromstring(text.encode())
    assert text.startswith("<?xml") and root.tag == "testsuites"
    obeys(root)
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(set(names)) == len(names) == len(export.rows), "GitLab ignores a name's second occurrence"
    for suite in root:
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(attribute)) == len(list(suite.iter(tag)))
        assert int(suite.get("tests")) == len(suite.findall("testcase"))


def test_a_comparison_is_told_by_the_servers_name_and_what_regressed_fails() -> None:
    root = ElementTree.fromstring(exports.junit(of_a_comparison()).encode())
    told = [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in root.iter("testcase")]
    assert told[0] == ("compare.mine", "rate=10000 p50_us", ["failure"])
    assert [tags for _, _, tags in told] == [["failure"], [], ["error"]]


def test_of_a_contaminated_comparison_no_figure_is_told() -> None:
    export = of_a_comparison("CONTAMINATED")
    assert {row.value for row in export.rows} == {None}
    root = ElementTree.fromstring(exports.junit(export).encode())
    assert not list(root.iter("failure")) and "the control moved" in exports.junit(export)


def test_junit_fails_what_regressed_and_nothing_else() -> None:
    root = ElementTree.fromstring(exports.junit(of_a_gate()).encode())
    failed = [
        (case.get("classname"), case.get("name")) for case in root.iter("testcase") if case.find("failure") is not None
    ]
    assert failed == [("calls.epoll_lt", "echo fcntl")]
    assert "+1 fcntl per request" in next(root.iter("failure")).get("message")
    assert [case.get("name") for case in root.iter("testcase") if case.find("error") is not None] == [
        "io_uring echo figures"
    ]
    assert not list(ElementTree.fromstring(exports.junit(export_rows.read(SAMPLE)).encode()).iter("failure"))


def rows_of(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("|")]


@every
def test_markdown(make) -> None:
    """GFM, section 4.10: a delimiter row as wide as the header, and every row of a table as wide as both."""
    text = exports.markdown(make())
    assert text.startswith("### ") and len(text.encode()) <= exports.SUMMARY_LIMIT
    widths = {line.replace("\\|", "").count("|") for line in rows_of(text)}
    assert widths == {7}
    assert text.count("|---|") >= 1 and text.count("<details>") == text.count("</details>")
    assert "<i>" not in text and "\x00" not in exports.junit(make())


def test_markdown_says_the_verdict_and_the_change_before_the_figures() -> None:
    text = exports.markdown(of_a_gate())
    assert text.index("REGRESSED") < text.index("+1 fcntl per request") < text.index("<details>")


def test_a_summary_never_passes_the_limit_that_drops_it_whole() -> None:
    row = Row("s", "c", "arm", "p99_us", "µs", "lower", 1.5, verdict="worse", says="long " * 100)
    many = Export("run", "host", "REGRESSED", [row] * 4000)
    text = exports.markdown(many)
    assert exports.SUMMARY_LIMIT * 0.99 < len(text.encode()) <= exports.SUMMARY_LIMIT
    assert "left out" in text and {line.count("|") for line in rows_of(text)} == {7}


def test_csv_and_tsv_of_a_run_and_of_a_gate(tmp_path: Path) -> None:
    """RFC 4180: every record has as many fields as the header."""
    (tmp_path / "gate.json").write_text(json.dumps({"schema": 1}))
    for text, delimiter in (
        (exports.as_text(SAMPLE, "csv"), ","),
        (exports.as_text(SAMPLE, "tsv"), "\t"),
        (exports.table(nasty().rows, ","), ","),
    ):
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1


def test_a_gates_record_is_found_by_path_and_a_wrong_name_is_explained(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "20260101-000000-gate"
    folder.mkdir(parents=True)
    (folder / "gate.json").write_text("{}")
    assert export_rows.find(tmp_path / "results", folder.name) == folder == export_rows.find(tmp_path, str(folder))
    with pytest.raises(UsageError, match="no run 'nonsense'"):
        export_rows.find(tmp_path / "results", "nonsense")
