"""A run's folder: plan.json first, env.json, samples.jsonl appended line by line.

Raw records are never rewritten.  A line is on disk before the next sample
begins; what a kill -9 may leave is half a last line, which readers skip and
the next append removes.
"""

import json
import os
from datetime import datetime, timezone
from pathlib import Path

from bench import paths
from bench.errors import BenchError, UsageError
from bench.units import nearest

SCHEMA = 1  # of every file in a run's folder; raised when a reader of today would misread it


def create(results: Path, label: str) -> Path:
    """A new, empty folder for one run, named by time and label so that names sort by age."""
    stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    for attempt in range(100):
        folder = results / (f"{stamp}-{label}" + (f"-{attempt + 1}" if attempt else ""))
        try:
            results.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            return folder
        except FileExistsError:
            if not results.is_dir():
                raise UsageError(f"{paths.shown(results)} is not a folder; name another with --results DIR") from None
        except OSError as error:
            raise UsageError(
                f"{paths.shown(results)}: cannot write results there: {error.strerror}; name another with --results DIR"
            ) from None
    raise BenchError(f"{paths.shown(results)}: a hundred runs in one second")


def write_json(path: Path, value: dict) -> None:
    """Writes a whole file or none: to a neighbour first, then renamed over; into a pipe or /dev/null as it comes."""
    special = path.is_symlink() or (path.exists() and not path.is_file())  # to rename over a device would take it from everybody
    neighbour = path if special else path.with_name(path.name + ".part")
    try:
        with open(neighbour, "w") as file:
            json.dump(value, file, indent=1, ensure_ascii=False, allow_nan=False)
            file.write("\n")
            file.flush()
            if not special:
                os.fsync(file.fileno())
        if not special:
            neighbour.replace(path)
    except OSError as error:
        if not special:
            neighbour.unlink(missing_ok=True)
        raise BenchError(f"{paths.shown(path)} cannot be written: {error.strerror}") from None


def read_json(path: Path) -> dict:
    """A file of a run, refused when a newer muxbench wrote it."""
    try:
        value = json.loads(path.read_text())
        found = value["schema"]
    except FileNotFoundError:
        raise UsageError(f"{paths.shown(path.parent)} is no run: it has no {path.name}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BenchError(f"{paths.shown(path)} cannot be read: {error!r}") from None
    check_schema(found, path)
    return value


def check_schema(found: int, path: Path) -> None:
    if found > SCHEMA:
        newer = f"schema {found}, this one reads up to {SCHEMA}"
        raise UsageError(f"{paths.shown(path)} was written by a newer muxbench ({newer}); update muxbench")


def read_samples(folder: Path, name: str = "samples.jsonl") -> list[dict]:
    """Every complete record of a run, in the order measured."""
    path = folder / name
    if not path.exists():
        return []
    records = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):  # after the last newline: nothing, or half a line
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise BenchError(
                f"{paths.shown(path)}:{number}: not JSON ({error}); the file was changed after it was written"
            ) from None
    for record in records:
        check_schema(record["schema"], path)
    return records


class Appender:
    """Adds records to samples.jsonl, each durable before add() returns."""

    def __init__(self, folder: Path, name: str = "samples.jsonl"):
        self.path = folder / name
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.drop_half_line()

    def drop_half_line(self) -> None:
        size = os.fstat(self.fd).st_size
        content = os.pread(self.fd, size, 0)
        os.ftruncate(self.fd, content.rfind(b"\n") + 1)

    def add(self, record: dict, durable: bool = True) -> None:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        before = os.fstat(self.fd).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self.fd, rest) :]
            if durable:
                os.fsync(self.fd)
        except OSError as error:
            os.ftruncate(self.fd, before)
            raise BenchError(
                f"{paths.shown(self.path)}: {error.strerror}; what was recorded before is whole. "
                f"Make room, then: python3 -m bench resume {paths.shown(self.path.parent)}"
            ) from None

    def close(self) -> None:
        os.close(self.fd)


def without_bins(value: object) -> object:
    """The same without histograms' bins, which are most of a record's size; percentiles stay."""
    if isinstance(value, dict):
        return {key: without_bins(inner) for key, inner in value.items() if key != "bins"}
    return [without_bins(inner) for inner in value] if isinstance(value, list) else value


def append_line(path: Path, value: dict) -> None:
    """Adds one line of JSON to a file, on disk when this returns; a line that does not fit is taken back."""
    appender = Appender(path.parent, path.name)
    try:
        appender.add(value)
    finally:
        appender.close()


def runs(results: Path) -> list[Path]:
    """The runs in a results folder, oldest first."""
    if not results.is_dir():
        return []
    return sorted(
        (
            p for p in results.iterdir() if (p / "plan.json").is_file()
        ), key=lambda p: (p / "plan.json").stat().st_mtime_ns
    )


def find(results: Path, name: str | None) -> Path:
    """The run that was named, by path or by name; without a name the newest."""
    if name and (Path(name) / "plan.json").is_file():
        return Path(name).resolve()
    known = runs(results)
    if name:
        for folder in known:
            if folder.name == name:
                return folder
        raise UsageError(f"no run {name!r} in {paths.shown(results)}{nearest(name, [p.name for p in known])}")
    if not known:
        raise UsageError(f"no runs in {paths.shown(results)} yet; make one with: make bench")
    return known[-1]
