"""/file/N: blocks of the file that --file names, as they are on the disk, and what happens where there is none."""
from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

from harness import proc
from harness.client import Client, difference, get, reply
from harness.model import Model, run
from http_cases import HOME, NOT_FOUND

pytestmark = [pytest.mark.speaks("http"), pytest.mark.having("file")]

BLOCK = 4096
CONTENT = random.Random(8).randbytes(40 * BLOCK)  # no block is like another
FAILED = reply(b"read failed\n", "500 Internal Server Error")


def block(n: int) -> bytes:
    return CONTENT[n * BLOCK:(n + 1) * BLOCK]


@pytest.fixture(params=["disk", "memory"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """On the disk, where O_DIRECT is to be had, and on a tmpfs, where on many kernels it is not."""
    if request.param == "memory" and not os.access("/dev/shm", os.W_OK):
        pytest.skip("this host has no /dev/shm to write to")
    with tempfile.NamedTemporaryFile(dir=tmp_path if request.param == "disk" else "/dev/shm") as held:
        held.write(CONTENT)
        held.flush()
        yield Path(held.name)


def test_several_blocks(model: Model, protocol: str, serve, file: Path) -> None:
    client, order = serve(protocol, "--file", str(file)).connect(), list(range(40))
    random.Random(1).shuffle(order)
    for n in order:
        client.send(get(f"/file/{n}"))
        client.expect(reply(block(n)))


def test_the_page_cache_is_left_out_where_it_can_be(model: Model, protocol: str, serve, file: Path) -> None:
    """The server opens the file as this test can: with O_DIRECT where the file system knows it."""
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_DIRECT))
        expected = os.O_DIRECT
    except OSError:
        expected = 0
    server = serve(protocol, "--file", str(file))
    opened = next(fd for fd in Path(f"/proc/{server.pid}/fd").iterdir() if os.readlink(fd) == str(file))
    info = Path(f"/proc/{server.pid}/fdinfo/{opened.name}").read_text()
    flags = int(info.partition("flags:")[2].split()[0], 8)
    assert flags & os.O_DIRECT == expected and flags & os.O_ACCMODE == os.O_RDONLY


def test_beyond_the_end(model: Model, protocol: str, serve, tmp_path: Path) -> None:
    """What is left at the end is no block; neither is what a number beyond it names."""
    file = tmp_path / "file"
    file.write_bytes(CONTENT[:3 * BLOCK + 100])
    client = serve(protocol, "--file", str(file)).connect()
    for path in ("/file/3", "/file/4", "/file/18446744073709551615", "/file/4503599627370496", "/file/-1", "/file/",
                 "/file/0x0", "/file/1/"):
        client.send(get(path))
        client.expect(NOT_FOUND)
    client.send(get("/file/2"))
    client.expect(reply(block(2)))


@pytest.mark.parametrize("empty", [False, True])
def test_without_a_file(model: Model, protocol: str, serve, tmp_path: Path, empty: bool) -> None:
    (tmp_path / "empty").touch()
    client = serve(protocol, *(["--file", str(tmp_path / "empty")] if empty else [])).connect()
    client.send(get("/file/0") + get("/"))
    client.expect(NOT_FOUND + HOME)


def test_head_and_the_end_of_the_connection(model: Model, protocol: str, serve, file: Path) -> None:
    client = serve(protocol, "--file", str(file)).connect()
    client.send(get("/file/1", method="HEAD") + get("/file/2?query") + get("/file/3", "Connection: close") + get("/"))
    client.expect(reply(b"", length=BLOCK) + reply(block(2)) + reply(block(3), connection="close"))
    client.expect_eof()


def test_pipelined_with_other_paths(model: Model, protocol: str, serve, file: Path) -> None:
    """A read holds back the requests behind it, and comes when those before it are answered."""
    client = serve(protocol, "--file", str(file)).connect()
    paths = {"/": HOME, "/delay/3": HOME, "/work/50": HOME, "/bytes/0": reply(b""), "/nothing": NOT_FOUND}
    paths |= {f"/file/{n}": reply(block(n)) for n in range(40)} | {"/file/40": NOT_FOUND}
    dice = random.Random(2)
    for _ in range(5):
        asked = dice.sample(sorted(paths), len(paths)) + ["/file/7", "/file/7"]
        client.send(b"".join(map(get, asked)))
        expected = b"".join(paths[path] for path in asked)
        got = client.receive(len(expected))
        assert got == expected, difference(got, expected)


def test_a_file_that_was_cut_off(model: Model, protocol: str, serve, file: Path) -> None:
    """A read that brings less than a block, or nothing, is a failure, and the connection goes on."""
    client = serve(protocol, "--file", str(file)).connect()
    os.truncate(file, 5 * BLOCK + 17)
    client.send(get("/file/4") + get("/file/5") + get("/file/6") + get("/file/6", method="HEAD") + get("/file/0"))
    head = FAILED.removesuffix(b"read failed\n")
    client.expect(reply(block(4)) + FAILED + FAILED + head + reply(block(0)))
    client.send(get("/file/30", "Connection: close"))
    client.expect(reply(b"read failed\n", "500 Internal Server Error", "close"))
    client.expect_eof()


def test_many_clients_read_at_once(model: Model, protocol: str, serve, file: Path) -> None:
    """Each gets its own block, whatever the others ask for; half of them leave without reading it."""
    server, dice = serve(protocol, "--file", str(file)), random.Random(3)
    before = len(proc.fds(server.pid))
    for _ in range(5):
        asked = [(server.connect(), dice.randrange(40)) for _ in range(2 if model.alone else 40)]
        for client, n in asked:
            client.send(get(f"/file/{n}"))
        for i, (client, n) in enumerate(asked):
            if i % 2 == 1:
                client.expect(reply(block(n)))
            (Client.close if i % 4 else Client.reset)(client)
    proc.eventually(lambda: len(proc.fds(server.pid)) == before, "the clients that left are closed")


def test_the_end_while_reads_are_under_way(model: Model, protocol: str, serve, file: Path) -> None:
    server = serve(protocol, "--file", str(file))
    for _ in range(1 if model.alone else 20):
        server.connect().send(get("/file/9") * 100)
    server.stop()


def refused(model: Model, *args: str) -> str:
    done = run(model, "--port", "0", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    return done.stderr


def test_what_is_no_file(model: Model, protocol: str, tmp_path: Path) -> None:
    """A fifo must not be waited for, either."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "fifo", Path("/dev/zero")):
        assert "--file" in (line := refused(model, "--protocol", protocol, "--file", str(path))) and str(path) in line
    assert "No such file" in refused(model, "--protocol", protocol, "--file", str(tmp_path / "missing"))
    assert "--file" in refused(model, "--protocol", protocol, "--file")


def test_only_http_reads_a_file(model: Model, protocol: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    for other in set(model.protocols) - {protocol}:
        assert "http" in refused(model, "--protocol", other, "--file", str(tmp_path / "file"))
