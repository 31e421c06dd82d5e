"""The command line of the contract: --describe, --help, --version, usage errors, READY, --bind, --listen, --backlog."""
from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

import pytest

from harness.client import Client, body, get, reply
from harness.model import PROTOCOLS, Model, check_description, run
from harness.rounds import round_trip


def one_line(text: str) -> str:
    lines = text.splitlines()
    assert len(lines) == 1 and text.endswith("\n"), f"expected exactly one line on stderr, got {text!r}"
    return lines[0]


def test_describe_is_one_json_object(model: Model) -> None:
    done = run(model, "--describe")
    assert (done.returncode, done.stderr) == (0, ""), done
    found = check_description(done.stdout, model.name)
    assert set(found["protocols"]) <= set(PROTOCOLS), found["protocols"]
    assert found["clients_at_once"] is None or found["clients_at_once"] >= 1
    assert len(found["thesis"]) > 10, "the thesis says in a sentence how the model waits"


def test_help_names_the_options_of_the_contract(model: Model) -> None:
    done = run(model, "--help")
    assert (done.returncode, done.stderr) == (0, ""), done
    options = ["--port", "--protocol", "--backlog", "--bind", *(f"--{option}" for option in model.options)]
    missing = [option for option in options if option not in done.stdout]
    assert not missing, f"--help says nothing about {missing}"
    assert model.has("delay") == bool({"greet", "http"} & set(model.protocols)), "--delay is for what greet and http do"


def test_version_is_one_line(model: Model) -> None:
    done = run(model, "--version")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1), done
    assert re.search(r"\d", done.stdout), f"no version number in {done.stdout!r}"


NOT_FOR_ALL = {"workers": ["2"], "delay": ["1ms"], "delay-blocks": [], "loops-per-us": ["5"], "listen": ["unix:x"],
               "file": [__file__]}


def test_an_option_that_it_does_not_have_is_refused_by_name(model: Model) -> None:
    for option in sorted(set(NOT_FOR_ALL) - model.options):
        done = run(model, f"--{option}", *NOT_FOR_ALL[option])
        assert (done.returncode, done.stdout) == (2, ""), done
        assert f"--{option}" in one_line(done.stderr)


def test_a_protocol_that_it_does_not_speak_is_refused_by_name(model: Model) -> None:
    for protocol in set(PROTOCOLS) - set(model.protocols):
        done = run(model, "--protocol", protocol)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert protocol in one_line(done.stderr)


BAD_USAGE = {
    "unknown option": ["--no-such-option"],
    "a word that is no option": ["surplus"],
    "unknown protocol": ["--protocol", "gopher"],
    "empty protocol": ["--protocol", ""],
    "a prefix of a protocol": ["--protocol", "ech"],
    "a value that is missing": ["--port"],
    "port too high": ["--port", "65536"],
    "port negative": ["--port", "-1"],
    "port a word": ["--port", "www"],
    "port with a tail": ["--port", "80x"],
    "time with unknown unit": ["--delay", "5parsecs"],
    "time negative": ["--delay", "-1s"],
    "time empty": ["--delay", ""],
    "time without a number": ["--delay", "ms"],
    "time that overflows": ["--delay", "99999999999999999999s"],
    "time over an hour": ["--delay", "3601s"],
    "time not finite": ["--delay", "nan"],
    "backlog a word": ["--backlog", "many"],
    "backlog negative": ["--backlog", "-5"],
    "address that is none": ["--bind", "300.1.2.3"],
    "listen without unix:": ["--listen", "somewhere"],
    "listen without a path": ["--listen", "unix:"],
    "listen path longer than a socket address": ["--listen", "unix:/tmp/" + "x" * 120],
    "loops not positive": ["--loops-per-us", "0"],
    "loops a word": ["--loops-per-us", "fast"],
    "no workers (or no such option)": ["--workers", "0"],
    "workers a word (or no such option)": ["--workers", "many"],
}


@pytest.mark.parametrize("case", BAD_USAGE)
def test_bad_usage_is_one_line_and_exit_2(model: Model, case: str) -> None:
    args = BAD_USAGE[case]
    # Echo takes no delay, whatever its value; one that speaks nothing else has no --delay to be used well.
    speaking = "greet" if args[0] == "--delay" and "greet" in model.protocols else model.protocols[0]
    protocol = [] if args[0] == "--protocol" else ["--protocol", speaking]
    if args == ["--port"]:
        protocol, args = [], [*protocol, "--port"]
    done = run(model, *protocol, *args)
    assert (done.returncode, done.stdout) == (2, ""), done
    line = one_line(done.stderr)
    assert args[-1] in line or args[-2] in line, f"the message does not say what was wrong: {line!r}"


@pytest.mark.speaks("echo", "frame")
def test_a_delay_is_refused_where_it_means_nothing(model: Model, protocol: str) -> None:
    done = run(model, "--port", "0", "--protocol", protocol, "--delay", "1ms")
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "--delay" in one_line(done.stderr) and protocol in done.stderr


def test_a_port_that_is_taken_is_one_line_and_exit_1(model: Model) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = run(model, "--port", str(port), "--protocol", model.protocols[0])
    assert (done.returncode, done.stdout) == (1, ""), done
    line = one_line(done.stderr)
    assert "127.0.0.1" in line and str(port) in line, f"the message does not name the address: {line!r}"
    assert "--port" in line, f"the message does not say what to do: {line!r}"


def test_an_address_that_is_not_ours_is_one_line_and_exit_1(model: Model) -> None:
    done = run(model, "--port", "0", "--protocol", model.protocols[0], "--bind", "203.0.113.7")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "203.0.113.7" in one_line(done.stderr)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_ready_means_ready(model: Model, protocol: str, serve) -> None:
    """Many starts in a row: the first connection after READY is never refused, and the first reply is right."""
    for _ in range(3):
        server = serve(protocol)
        round_trip(server.connect(), protocol)
        server.leave()
        assert server.stop()["accepted"] == 1
        assert server.errors() == "", "a quiet run says nothing on stderr"


def test_the_port_that_was_asked_for(model: Model, serve) -> None:
    """Also right after a server that had connections there: SO_REUSEADDR."""
    port = free_port()
    for _ in range(2):
        server = serve(model.protocols[0], "--port", str(port))
        assert server.port == port
        client = server.connect()
        round_trip(client, model.protocols[0])
        server.stop()  # with the client still there: TIME_WAIT stays behind on the server's side
        server.leave()


def listening_addresses(port: int) -> list[str]:
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [str(ipaddress.IPv4Address(bytes.fromhex(fields[1].split(":")[0])[::-1])) for fields in lines
            if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port]


def test_loopback_unless_told_otherwise(model: Model, serve) -> None:
    server = serve(model.protocols[0])
    assert listening_addresses(server.port) == ["127.0.0.1"]


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
def test_bind(model: Model, protocol: str, serve, address: str) -> None:
    if address == "::1" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this host has no IPv6")
    server = serve(protocol, "--bind", address, bind=address)
    round_trip(server.connect(), protocol)
    with pytest.raises(ConnectionRefusedError):
        Client(("127.0.0.1", server.port))


@pytest.mark.having("listen")
def test_unix_socket(model: Model, protocol: str, serve, tmp_path: Path) -> None:
    """Every protocol over a Unix socket; a second run finds the path usable again."""
    path = str(tmp_path / "socket")
    for _ in range(2):
        server = serve(protocol, unix=path)
        assert server.address == path
        client = server.connect()
        if protocol == "http":
            client.send(get("/bytes/300000", "Connection: close"))
            client.expect(reply(body(300000), connection="close"))
            client.expect_eof()
        else:
            round_trip(client, protocol)
        server.leave()
        server.stop()


def test_a_unix_path_in_use_is_left_alone(model: Model, serve, tmp_path: Path) -> None:
    if not model.has("listen"):
        pytest.skip(f"{model.name} has no --listen, and refuses it")
    file = tmp_path / "precious"
    file.write_text("data")
    done = run(model, "--protocol", model.protocols[0], "--listen", f"unix:{file}")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert str(file) in one_line(done.stderr)
    assert file.read_text() == "data", "a file that is no socket was removed"
    path = str(tmp_path / "socket")
    server = serve(model.protocols[0], unix=path)
    done = run(model, "--protocol", model.protocols[0], "--listen", f"unix:{path}")
    assert (done.returncode, done.stdout) == (1, ""), done
    assert path in one_line(done.stderr)
    round_trip(server.connect(), model.protocols[0])
