"""Clients that nobody here wrote, against every server in SERVERS_DIR (default build/servers)."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "conformance"))

from harness import server as servers  # noqa: E402
from harness.model import Model, find_models  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.models = find_models()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "model" in metafunc.fixturenames:
        models = metafunc.config.models
        metafunc.parametrize("model", models, ids=[m.name for m in models])


@pytest.fixture
def serve(model: Model):
    """Starts servers of the model, and ends them: exit 0, counters that add up, no sanitizer report."""
    started: list[servers.Server] = []

    def start(protocol: str, *args: str) -> servers.Server:
        if protocol not in model.protocols:
            pytest.skip(f"{model.name} does not speak {protocol}")
        started.append(servers.start(model, protocol, *args))
        return started[-1]

    yield start
    for server in started:
        try:
            server.stop()
        finally:
            if server.popen.poll() is None:
                server.kill()
