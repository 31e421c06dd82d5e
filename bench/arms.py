"""Arms: what can be measured.  The directory is the registry: every executable in build/servers is a model."""

import hashlib
import json
import os
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import paths
from bench.errors import BenchError, UsageError
from bench.units import nearest

# The order in which a reader meets the models: one client at a time, threads, readiness, libraries, completions.
ORDER = (
    *("floor", "blocking", "fork_per_conn", "prefork", "thread_per_conn", "thread_pool"),
    *("busy_poll", "select", "poll", "epoll_lt", "epoll_et", "sigio", "kqueue"),
    *("coroutine", "libuv", "libevent", "libev"),
    *("posix_aio", "linux_aio", "io_uring", "sockmap"),
)


@dataclass(frozen=True)
class Arm:
    """One thing to measure, and how to start it."""

    name: str
    argv: tuple[str, ...]
    sha256: str  # of `source`
    source: str = ""  # the file whose hash is kept: the executable, or a contender's description
    thesis: str = ""
    protocols: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    clients_at_once: int | None = None  # None: as many as descriptors allow
    needs: tuple[str, ...] = ()
    kind: str = "model"
    contender: dict = field(default_factory=dict)

    def as_record(self) -> dict:
        return asdict(self)


def sort_key(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def file_hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BenchError(f"{paths.shown(path)} cannot be read: {error.strerror}") from None


def describe(path: Path) -> dict:
    """What a contract server says of itself."""
    name = paths.shown(path)
    try:
        done = subprocess.run([path, "--describe"], capture_output=True, timeout=10)
        told = json.loads(done.stdout)
        return {key: told[key] for key in ("name", "thesis", "protocols", "options", "clients_at_once")} | {"needs": told.get("needs", [])}
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{name} --describe does not run: {error}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise BenchError(
            f"{name} --describe is not what the contract asks for ({error!r}); see docs/adding-a-server.md"
        ) from None


def from_executable(path: Path, kind: str = "model") -> Arm:
    told = describe(path)
    return Arm(
        name=path.name,
        argv=(paths.from_root(path),),
        source=paths.from_root(path),
        sha256=file_hash(path),
        thesis=told["thesis"],
        protocols=tuple(told["protocols"]),
        options=tuple(option.lstrip("-") for option in told["options"]),
        clients_at_once=told["clients_at_once"],
        needs=tuple(told["needs"]),
        kind=kind,
    )


def model_names(folder: Path | None = None) -> list[str]:
    """The names in build/servers, in the readers' order; an empty list when nothing is built."""
    folder = folder or paths.build_dir() / "servers"
    if not folder.is_dir():
        return []
    return sorted((p.name for p in folder.iterdir() if p.is_file() and os.access(p, os.X_OK)), key=sort_key)


def models(names: list[str] | str = "all", folder: Path | None = None) -> list[Arm]:
    """The arms of these names; complains of an unknown one with the nearest there is."""
    folder = folder or paths.build_dir() / "servers"
    built = model_names(folder)
    if not built:
        raise BenchError(f"no servers in {paths.shown(folder)}; run: make")
    wanted = built if names == "all" else list(names)
    for name in wanted:
        if name not in built:
            raise UsageError(f"no model {name!r} in {paths.shown(folder)}{nearest(name, built)}")
    return [from_executable(folder / name) for name in wanted]


def why_unfit(arm: Arm, options: dict, fd_limit: int, server: dict | None = None) -> str | None:
    """Why an arm cannot be run in a cell, in words for a figure; None when it can."""
    protocol = options["protocol"]
    if protocol not in arm.protocols:
        return f"does not speak {protocol}"
    for option in server or {}:
        if option.replace("_", "-") not in arm.options:
            return f"has no --{option.replace('_', '-')}"
    clients = options["connections"] + options.get("idle", 0)
    clients += sum(population["connections"] for population in options.get("populations", {}).values())
    if arm.clients_at_once is not None and clients > arm.clients_at_once:
        few = "one client at a time" if arm.clients_at_once == 1 else f"{arm.clients_at_once} clients at once"
        return f"serves {few}"
    if clients + FDS_ASIDE > fd_limit:
        return f"needs {clients} descriptors, the limit is {fd_limit}"
    return None


FDS_ASIDE = 64  # descriptors that a server or client needs beside its connections
