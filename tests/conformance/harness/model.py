"""A model under test: an executable and what it says about itself with --describe.

Expectations that a model itself forbids are derived here from that description, and nowhere from its name:
a new file in servers/ is tested without touching this suite.
"""
from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PROTOCOLS = ("echo", "greet", "http", "frame")
DEFAULT_WORKERS = 16
EXCEPTIONS = ("spins", "unbounded")  # docs/conformance.md says what is expected of a model that names one
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Model:
    path: Path
    protocols: tuple[str, ...] = PROTOCOLS
    options: frozenset[str] = frozenset()
    clients_at_once: int | None = None
    exceptions: frozenset[str] = frozenset()  # from the rules, by the names in EXCEPTIONS
    sanitizer: str | None = None
    problem: str | None = None  # why --describe could not be believed; only test_cli.py runs then
    label: str = ""  # its name where the path does not tell it from others
    exempt: dict[str, str] = field(default_factory=dict)  # scenarios that are not for it, and why
    command: tuple[str, ...] = ()  # where more than the path is needed to start it
    foreign: bool = False  # only what goes over its connections is judged: not its counters, nor how it ends
    ready_line: str | None = None  # a foreign one's own way to say that it is ready

    @property
    def name(self) -> str:
        return self.label or self.path.name

    @property
    def argv(self) -> list[str]:
        return [*command_prefix(self.sanitizer), *(self.command or (str(self.path),))]

    @property
    def given_port(self) -> bool:
        """It does not follow the contract: {port} in its command stands for where to listen."""
        return any("{port}" in word for word in self.command)

    @property
    def alone(self) -> bool:
        """It serves one client at a time: the next one waits until the first has gone."""
        return self.clients_at_once == 1

    def at_once(self, count: int) -> int:
        """How many of so many clients it serves at once; the others wait until one of those has gone."""
        return min(count, self.clients_at_once or count)

    @property
    def waits_at_once(self) -> int | None:
        """How many requests may sit out a delay at once; None: as many as there are clients.

        A model with --workers sleeps in its workers, so a delay of D caps it at workers / D requests a second.
        """
        return DEFAULT_WORKERS if "workers" in self.options else self.clients_at_once

    @property
    def spins(self) -> bool:
        """It never sleeps, by what it is."""
        return "spins" in self.exceptions

    def of_work(self, count: int) -> int:
        """How many requests to ask for in one go to see what work costs: more of one that spins, which burns CPU
        while its client is slow, too."""
        return 10 * count if self.spins else count

    @property
    def unbounded(self) -> bool:
        """It takes what a client sends even if that one never reads."""
        return "unbounded" in self.exceptions

    def has(self, option: str) -> bool:
        return option.lstrip("-") in self.options


def sanitizer_of(path: Path) -> str | None:
    """Which sanitizer a binary was built with, read from the binary itself, so that no caller can forget to say it."""
    content = path.read_bytes()
    for name in ("asan", "tsan"):
        if f"__{name}_init".encode() in content:
            return name
    return None


def command_prefix(sanitizer: str | None) -> list[str]:
    """ThreadSanitizer's shadow does not fit beside 32 random bits of address: it runs with randomisation off."""
    return ["setarch", "-R"] if sanitizer == "tsan" else []


def environment(sanitizer: str | None) -> dict[str, str]:
    env = dict(os.environ)
    if sanitizer:
        # A small quarantine, and in each thread, or memory bounds would measure ASan's hoard of freed blocks.
        env["ASAN_OPTIONS"] = ("detect_leaks=1:exitcode=99:quarantine_size_mb=1:thread_local_quarantine_size_kb=16:"
                               + env.get("ASAN_OPTIONS", ""))
        env["UBSAN_OPTIONS"] = "print_stacktrace=1:" + env.get("UBSAN_OPTIONS", "")
        env["TSAN_OPTIONS"] = "exitcode=66:" + env.get("TSAN_OPTIONS", "")
    return env


def run(model: Model, *args: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a server that is expected to end by itself: --describe, --help, usage errors."""
    return subprocess.run([*model.argv, *args], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=timeout, env=environment(model.sanitizer))


def check_description(text: str, name: str) -> dict:
    """The description as a dict, or ValueError saying which part of the contract it breaks."""
    found = json.loads(text)
    expected = {"name": str, "thesis": str, "protocols": list, "options": list,
                "clients_at_once": (int, type(None)), "needs": list}
    for key, kind in expected.items():
        if not isinstance(found.get(key, ...), kind):
            raise ValueError(f"--describe: {key!r} is {found.get(key, 'missing')!r}, expected {kind}")
    if found["name"] != name:
        raise ValueError(f"--describe: name is {found['name']!r}, the executable is called {name!r}")
    if unknown := set(found.get("exceptions", [])) - set(EXCEPTIONS):
        raise ValueError(f"--describe: unknown exceptions {sorted(unknown)}, there are {EXCEPTIONS}")
    if not found["protocols"]:
        raise ValueError("--describe: speaks no protocol")
    return found


def describe(path: Path, *args: str) -> Model:
    """What it says of itself when it is given these options."""
    model = Model(path, sanitizer=sanitizer_of(path))
    try:
        done = run(model, *args, "--describe")
        if done.returncode != 0:
            raise ValueError(f"--describe: exit {done.returncode}: {done.stderr.strip()}")
        found = check_description(done.stdout, model.name)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return Model(path, sanitizer=model.sanitizer, problem=str(error))
    return Model(path, tuple(p for p in found["protocols"] if p in PROTOCOLS),
                 frozenset(str(o).lstrip("-").split()[0] for o in found["options"] if str(o).strip("-")),
                 found["clients_at_once"], frozenset(found.get("exceptions", [])), model.sanitizer)


def contender(told: dict) -> Model:
    """What a contender file describes (`python3 -m bench check` hands it over): its command, and what may be asked."""
    return Model(Path(told["name"]), tuple(told["protocols"]), frozenset(told["options"]), told["clients_at_once"],
                 command=tuple(told["command"]), foreign=True, ready_line=told["ready_line"])


def find_models() -> list[Model]:
    """Every executable in SERVERS_DIR (default build/servers); SERVERS=a,b narrows the list. Or the one contender
    that CONTENDER describes, in JSON."""
    if os.environ.get("CONTENDER"):
        return [contender(json.loads(os.environ["CONTENDER"]))]
    directory = Path(os.environ.get("SERVERS_DIR") or ROOT / "build" / "servers")
    wanted = set(filter(None, os.environ.get("SERVERS", "").split(",")))
    found = sorted(p for p in directory.glob("*") if p.is_file() and os.access(p, os.X_OK))
    return [describe(p) for p in found if not wanted or p.name in wanted]
