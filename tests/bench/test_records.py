"""Records: durable, never rewritten, readable after a kill, refused when newer."""

import json
import os
from pathlib import Path

import pytest

from bench import records
from bench.errors import BenchError, UsageError


def line(number: int, schema: int = records.SCHEMA) -> dict:
    return {"schema": schema, "id": f"e/c/{number}/a"}


def test_half_a_last_line_is_skipped_and_removed_by_the_next_append(tmp_path: Path) -> None:
    whole = json.dumps(line(1)) + "\n"
    (tmp_path / "samples.jsonl").write_text(whole + '{"schema": 1, "id": "e/c/2')
    assert [r["id"] for r in records.read_samples(tmp_path)] == ["e/c/1/a"]
    appender = records.Appender(tmp_path)
    appender.add(line(2))
    appender.close()
    assert [r["id"] for r in records.read_samples(tmp_path)] == ["e/c/1/a", "e/c/2/a"]
    assert (tmp_path / "samples.jsonl").read_text().startswith(whole)


def test_damage_elsewhere_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("{}x\n" + json.dumps(line(1)) + "\n")
    with pytest.raises(BenchError, match=r"samples.jsonl:1: not JSON"):
        records.read_samples(tmp_path)


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text(json.dumps(line(1, schema=records.SCHEMA + 1)) + "\n")
    with pytest.raises(UsageError, match="newer muxbench"):
        records.read_samples(tmp_path)
    records.write_json(tmp_path / "plan.json", {"schema": records.SCHEMA + 1})
    with pytest.raises(UsageError, match="update muxbench"):
        records.read_json(tmp_path / "plan.json")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    records.write_json(tmp_path / "plan.json", {"schema": 1, "a": "b"})
    with pytest.raises((ValueError, BenchError)):
        records.write_json(tmp_path / "plan.json", {"schema": 1, "a": float("nan")})
    assert records.read_json(tmp_path / "plan.json")["a"] == "b"


def test_runs_are_told_apart_and_the_newest_is_found(tmp_path: Path) -> None:
    first, second = records.create(tmp_path, "quick"), records.create(tmp_path, "quick")
    assert first != second
    for folder in (first, second):
        records.write_json(folder / "plan.json", {"schema": 1})
    assert records.find(tmp_path, None) == second
    assert records.find(tmp_path, first.name) == first
    with pytest.raises(UsageError, match="did you mean"):
        records.find(tmp_path, first.name + "x")


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    records.write_json(tmp_path / "pipe", {"schema": 1})
    assert json.loads(os.read(reader, 100)) == {"schema": 1} and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"]
