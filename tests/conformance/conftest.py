"""One scenario list over every server and every protocol it says it speaks.

A scenario takes `serve` (starts servers of the model under test, and judges each when it ends) and perhaps `protocol`.
Environment: SERVERS_DIR (default build/servers), LAB_DIR (instead: the lab's servers, as lab.toml lists them),
SERVERS=a,b (only these), CONFORMANCE_SCALE (a factor on the counts of the long scenarios), CONFORMANCE_TURNS (which
scenarios run with one protocol of each model instead of all: in_turn below), CONFORMANCE_PATIENCE (seconds until a wait
is a failure), CONTENDER (JSON: only this contender, as `python3 -m bench check` describes it).
"""
from __future__ import annotations

import os
import resource
import signal
import sys
import zlib
from pathlib import Path
from typing import Callable, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import lab  # noqa: E402
from harness import server as servers  # noqa: E402
from harness.model import PROTOCOLS, Model, find_models  # noqa: E402
from harness.server import PATIENCE_S, Server  # noqa: E402

TEST_LIMIT_S = int(6 * PATIENCE_S)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "speaks(*protocols): the protocols a scenario is about; default all")
    config.addinivalue_line("markers", "having(option): only for models that have this option")
    config.addinivalue_line("markers", "below: about what lies below the protocol, such as descriptors; see in_turn")
    config.addinivalue_line("markers", "wire: about bytes on connections alone; a contender's file is enough to run it")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lab_dir = os.environ.get("LAB_DIR")
    config.models = lab.find_models(Path(lab_dir)) if lab_dir else find_models()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names, models = metafunc.fixturenames, metafunc.config.models
    if "model" not in names:
        return
    if not metafunc.definition.get_closest_marker("wire"):
        models = [m for m in models if not m.foreign]
    if "protocol" not in names:
        about_cli = metafunc.module.__name__ == "test_cli"
        cases = [m for m in models if about_cli or not m.problem]
        metafunc.parametrize("model", cases, ids=[m.name for m in cases])
        return
    marker, having = (metafunc.definition.get_closest_marker(name) for name in ("speaks", "having"))
    wanted = marker.args if marker else PROTOCOLS
    able = [m for m in models if not m.problem and (not having or m.has(*having.args))]
    spoken = [(m, [p for p in m.protocols if p in wanted]) for m in able]
    if in_turn(metafunc):
        first = zlib.crc32(metafunc.function.__name__.encode())
        spoken = [(m, [ps[(first + i) % len(ps)]]) for i, (m, ps) in enumerate(spoken) if ps]
    pairs = [(m, p) for m, ps in spoken for p in ps]
    metafunc.parametrize("model,protocol", pairs, ids=[f"{m.name}-{p}" for m, p in pairs])


def in_turn(metafunc: pytest.Metafunc) -> bool:
    """Whether a scenario runs with one protocol of each model, another for the next model and the next scenario: what is
    looked at is the model's own page, and the protocols' code is the same for all. CONFORMANCE_TURNS=below: scenarios
    with this mark; CONFORMANCE_TURNS=pages: all but those of a file named for a protocol."""
    turns = os.environ.get("CONFORMANCE_TURNS", "")
    about_bytes = metafunc.module.__name__.removeprefix("test_") in (*PROTOCOLS, "file")
    below = metafunc.definition.get_closest_marker("below")
    return bool(turns == "below" and below or turns == "pages" and not about_bytes)


@pytest.fixture(autouse=True)
def deadline(request: pytest.FixtureRequest) -> Iterator[None]:
    """No scenario hangs: every wait has its own deadline, and this one stands behind them all."""
    def expired(*_: object) -> None:
        raise TimeoutError(f"{request.node.name}: not finished after {TEST_LIMIT_S} s")
    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def scale(model: Model) -> Callable[[int], int]:
    """Counts of the long scenarios, scaled down for sanitizers and slow hosts; never below 20."""
    factor = float(os.environ.get("CONFORMANCE_SCALE", "1"))
    return lambda count: max(20, int(count * factor))


@pytest.fixture(autouse=True)
def exemption(request: pytest.FixtureRequest) -> None:
    model = request.node.callspec.params.get("model") if hasattr(request.node, "callspec") else None
    why = model.exempt.get(request.node.originalname) if model else None
    if why:
        pytest.skip(f"{model.name}: {why}")


@pytest.fixture
def serve(model: Model) -> Iterator[Callable[..., Server]]:
    """Start servers. When the scenario is over each is sent SIGTERM, and must end well: exit 0, counters that add up,
    no sanitizer report. So every scenario is a leak test too."""
    started: list[Server] = []

    def start(protocol: str, *args: str, **kwargs) -> Server:
        started.append(servers.start(model, protocol, *args, **kwargs))
        return started[-1]

    yield start
    for server in started:
        server.leave()
    try:
        for server in started:
            server.stop()
    finally:
        for server in started:
            if server.popen.poll() is None:
                server.kill()
