"""The load generator under test, and peers of known behaviour to point it at.

LOADGEN names the binary (default build/loadgen), BUILD the folder with arms/peer beside it. Every run's JSON is held
against the schema and against the identity: each scheduled request ends in exactly one class.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADGEN = Path(os.environ.get("LOADGEN", ROOT / "build" / "loadgen")).resolve()
PEER = LOADGEN.parent / "arms" / "peer"
SCHEMA = json.loads((ROOT / "loadgen" / "schema.json").read_text())
REPORT, ERROR, MERGED = (
    jsonschema.Draft202012Validator({**part, "$defs": SCHEMA["$defs"]}) for part in SCHEMA["oneOf"]
)
LIMIT_S = 120
ENGINES = ("epoll", "io_uring")


def pytest_collection_modifyitems(config, items):
    """The short form leaves the long tests out altogether: they are a form of their own, not something that this host
    cannot do."""
    if os.environ.get("SHORT"):
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_configure(config):
    for program in (LOADGEN, PEER):
        if not os.access(program, os.X_OK):
            raise pytest.UsageError(f"{program} is missing; run: make all loadgen-programs")


@dataclass(frozen=True)
class Run:
    status: int
    doc: dict
    err: str

    @property
    def kept(self) -> bool:
        """No rule of the instrument was broken, but for those on time: tests run many at once, and this host is
        crowded."""
        broken = {check["name"] for check in self.doc["checks"] if not check["kept"]}
        assert self.doc["valid"] == (not broken) and self.status == (3 if broken else 1 if self.doc["failed"] else 0)
        assert broken == {reason.split(":")[0] for reason in self.doc["reasons"]} - {"failed", "start"}
        return broken <= {"window_edges", "generator_lag"}

    @property
    def good(self) -> bool:
        return self.kept and not self.doc["failed"]

    @property
    def bad(self) -> bool:
        return self.kept and self.doc["failed"]

    @property
    def failures(self) -> dict[str, int]:
        """Error classes of the whole run, warm-up included."""
        both = (self.doc["errors"], self.doc["warmup_errors"])
        return {name: sum(part.get(name, 0) for part in both) for name in {**both[0], **both[1]}}


def check_document(doc: dict) -> None:
    kind = ERROR if "error" in doc else MERGED if "merged" in doc else REPORT
    problems = [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in kind.iter_errors(doc)]
    assert not problems, problems
    if "counts" in doc:
        counts = doc["counts"]
        ends = sum(counts[name] for name in ("ok", "shed", "inflight_end", "never_sent", "errors"))
        assert counts["scheduled"] == ends
        assert counts["errors"] == sum(doc["errors"].values())
    for load in (doc, *doc.get("populations", ())):
        check_classes(load)
    for name, value in doc.items():
        if name.endswith("_ns") and isinstance(value, dict) and "bins" in value:
            assert sum(n for _, n in value["bins"]) + value["overflow"] == value["n"], name


def check_classes(load: dict) -> None:
    """The classes of a load are all its requests, and each of their requests has ended as well."""
    classes = load.get("classes") or []
    for one in classes:
        counts = one["counts"]
        assert counts["scheduled"] == sum(
            counts[name] for name in ("ok", "shed", "inflight_end", "never_sent", "errors")
        )
        assert one["latency_sent_ns"] is None or one["latency_sent_ns"]["n"] == counts["ok"]
    if classes:
        for name in classes[0]["counts"]:
            assert load["counts"][name] == sum(one["counts"][name] for one in classes), name


def argv(target: str, *args: object) -> list[str]:
    return [str(LOADGEN), "--target", target, "--probe", "0", "--json", "-", *map(str, args)]


def finished(out: bytes, err: bytes, status: int) -> Run:
    text = err.decode()
    assert "Sanitizer" not in text and "runtime error" not in text, text
    doc = json.loads(out)
    check_document(doc)
    assert doc["exit"] == status
    return Run(status, doc, text)


def loadgen(target: str, *args: object) -> Run:
    """One run to its end. Short phases unless args say otherwise (the last of an option counts)."""
    done = subprocess.run(
        argv(target, "--warmup", "0", "--duration", "300ms", *args), capture_output=True, timeout=LIMIT_S
    )
    return finished(done.stdout, done.stderr, done.returncode)


@contextmanager
def running(target: str, *args: object):
    """A run that goes on while the test does something; .finish() waits for it."""
    process = subprocess.Popen(argv(target, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish() -> Run:
        out, err = process.communicate(timeout=LIMIT_S)
        return finished(out, err, process.returncode)

    process.finish = finish
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@dataclass
class Peer:
    process: subprocess.Popen
    target: str
    counts: dict = field(default_factory=dict)

    def stop(self) -> dict:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            out, _ = self.process.communicate(timeout=LIMIT_S)
            self.counts = json.loads(out)
        return self.counts


def peer(**options: object):
    """build/arms/peer with these options; see tests/loadgen/peer.c."""
    return program(PEER, *(word for name, value in options.items() for word in (f"--{name}", str(value))))


@contextmanager
def program(path: Path, *words: str):
    process = subprocess.Popen([str(path), *words], stdout=subprocess.PIPE, text=True)
    ready = process.stdout.readline()
    try:
        yield Peer(process, f"127.0.0.1:{ready.strip().partition('=')[2]}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def attempts(most: int, attempt, is_good) -> list:
    """What was told by each attempt, up to the first good one; fails when none is."""
    told = []
    while not told or not is_good(told[-1]):
        assert len(told) < most, told
        told.append(attempt())
    return told
