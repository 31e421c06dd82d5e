"""curl, nc, wrk, ab and h2load against every model: no error, no timeout, the right count, the right bytes.

Short by default. INTEROP_SECONDS lengthens the load (`make interop` uses 5).
"""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.client import body
from harness.model import Model
from harness.server import Server

SECONDS = int(os.environ.get("INTEROP_SECONDS", "1"))
CONNECTIONS = 100


def tool(name: str) -> str:
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed: bench/require.sh test brings it")
    return path


def run(*command: str, stdin: str | None = None, timeout_s: float = 60) -> str:
    """A tool's stdout; its failure fails the test with what it said."""
    done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=timeout_s)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def clients(model: Model) -> int:
    """As many at once as the model serves, at most CONNECTIONS: a model that serves one client is loaded by one."""
    return min(CONNECTIONS, model.clients_at_once or CONNECTIONS)


def number(text: str, pattern: str) -> int:
    match = re.search(pattern, text)
    assert match, f"nothing like {pattern!r} in:\n{text}"
    return int(match[1])


def test_there_are_servers_to_test(request: pytest.FixtureRequest) -> None:
    assert request.config.models, "no server found: run `make`, or set SERVERS_DIR"


def test_nc_gets_its_greeting(model: Model, serve) -> None:
    """nc sends a name, shuts its side down at the end of its input (-N), and prints what comes."""
    server = serve("greet", "--delay", "20ms")
    assert run(tool("nc"), "-N", "127.0.0.1", str(server.port), stdin="Alice\n") == "Hello Alice\n"
    assert run(tool("nc"), "-N", "127.0.0.1", str(server.port), stdin="Bob") == "Hello Bob\n"
    assert run(tool("nc"), "127.0.0.1", str(server.port), stdin="Eve\r\n") == "Hello Eve\n"


def test_nc_gets_its_bytes_back(model: Model, serve) -> None:
    server, text = serve("echo"), "".join(f"line {i}\n" for i in range(20_000))
    assert run(tool("nc"), "-N", "127.0.0.1", str(server.port), stdin=text) == text


def test_curl_gets_every_path(model: Model, serve) -> None:
    server, curl = serve("http"), tool("curl")
    assert run(curl, "-sSf", url(server, "/")) == "muxbench\n"
    assert run(curl, "-sSf", url(server, "/bytes/100000")) == body(100_000).decode()
    assert run(curl, "-sSf", url(server, "/delay/20")) == "muxbench\n"
    assert run(curl, "-sSf", url(server, "/work/100")) == "muxbench\n"
    assert run(curl, "-sSf", "--http1.0", url(server, "/")) == "muxbench\n"
    assert "Content-Length: 9" in run(curl, "-sSfI", url(server, "/"))
    assert run(curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", url(server, "/nothing")) == "404"
    assert run(curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", url(server, "/")) == "501"
    assert run(curl, "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", "data", url(server, "/")) in ("400", "501")


def test_curl_reuses_its_connection(model: Model, serve) -> None:
    server = serve("http")
    run(tool("curl"), "-sSf", *[url(server, f"/bytes/{i}") for i in range(10)])
    assert server.stop()["accepted"] == 1


def test_curl_over_many_connections(model: Model, serve, tmp_path: Path) -> None:
    server = serve("http")
    config = tmp_path / "urls"
    config.write_text("".join(f'url = "{url(server, f"/bytes/{i}")}"\noutput = "{tmp_path}/{i}"\n' for i in range(60)))
    run(tool("curl"), "-sSf", "-Z", "--parallel-max", str(clients(model)), "-K", str(config))
    for i in range(60):
        assert (tmp_path / str(i)).read_bytes() == body(i) if i else True


@pytest.mark.parametrize("path", ["/", "/bytes/20000"])
def test_wrk(model: Model, serve, path: str) -> None:
    server, n = serve("http"), clients(model)
    out = run(tool("wrk"), "-t1", f"-c{n}", f"-d{SECONDS}s", "--timeout", "10s", url(server, path))
    assert "Socket errors" not in out and "Non-2xx" not in out, out
    replies = number(out, r"(\d+) requests in")
    assert replies > n, out
    assert server.stop()["requests"] >= replies


@pytest.mark.parametrize("keep_alive", [True, False], ids=["-k", "one request each"])
def test_ab(model: Model, serve, keep_alive: bool) -> None:
    """ab speaks HTTP/1.0, and with -k asks for keep-alive, which it must be granted by name."""
    server, n, count = serve("http"), clients(model), 2000 * SECONDS
    options = ["-q", "-n", str(count), "-c", str(n), "-s", "10", *(["-k"] if keep_alive else [])]
    out = run(tool("ab"), *options, url(server, "/bytes/500"))
    assert number(out, r"Complete requests:\s+(\d+)") == count, out
    assert number(out, r"Failed requests:\s+(\d+)") == 0, out
    assert "Non-2xx" not in out, out
    assert number(out, r"HTML transferred:\s+(\d+) bytes") == 500 * count, out
    if keep_alive:
        assert number(out, r"Keep-Alive requests:\s+(\d+)") == count, out
    assert server.stop()["accepted"] >= (n if keep_alive else count)


def test_h2load(model: Model, serve) -> None:
    """HTTP/1.1 with several requests on their way on each connection."""
    server, n, count = serve("http"), clients(model), 5000 * SECONDS
    out = run(tool("h2load"), "--h1", "-n", str(count), "-c", str(n), "-m", "4", "-T", "10", url(server, "/bytes/1000"))
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in out, out
    assert f"{count} 2xx, 0 3xx, 0 4xx, 0 5xx" in out, out
    assert server.stop()["requests"] >= count
