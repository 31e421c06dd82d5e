"""http and raw against servers that answer in every way that is right, and in some that are not."""
import pytest
from conftest import ENGINES, loadgen
from servers import echo, http, page, served

HTTP = ("--protocol", "http", "--connections", 3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("depth", [1, 6])
def test_a_changing_date_is_no_mismatch(engine, depth):
    with served(http(lambda n, path: page(b"same\n", f"Date: {n // 50}"))) as target:
        run = loadgen(target, *HTTP, "--depth", depth, "--engine", engine)
    assert run.good, run.err
    assert run.doc["expected"] == {"path": "/", "status": 200, "body_bytes": 5, "learned": True, "compared": "bytes"}


def test_chunked_replies():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nmux\r\n2;x\r\nbe\r\n0\r\n\r\n"
    with served(http(lambda n, path: chunked)) as target:
        run = loadgen(target, *HTTP)
        other = loadgen(target, *HTTP, "--expect", "muxbench")
    assert run.good and run.doc["expected"]["body_bytes"] == 5
    assert other.bad and set(other.failures) == {"short"}


def test_large_bodies():
    body = bytes(range(256)) * 1200
    with served(http(lambda n, path: page(body))) as target:
        run = loadgen(target, *HTTP)
    assert run.good and run.doc["expected"]["body_bytes"] == len(body)


WRONG = {
    "mismatch": page(b"somE\n"),
    "short": page(b"some"),
    "long": page(b"some\n\n"),
    "status": page(b"busy\n", status="503 Service Unavailable"),
    "duplicate": page(b"some\n") * 2,
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_replies(name):
    told = []

    def reply(number, path):
        if number % 20 != 10:
            return page(b"some\n")
        told.append(number)
        return WRONG[name]

    with served(http(reply)) as target:
        run = loadgen(target, *HTTP)
    assert run.bad
    assert run.failures == {name: len(told)}


def test_a_server_that_closes_after_a_reply_is_within_its_rights():
    def reply(number, path):
        return page(b"x", "Connection: close") if number % 7 == 3 else page(b"x")

    with served(http(reply)) as target:
        run = loadgen(target, *HTTP)
    assert run.good, run.err
    assert run.doc["connects"]["recycled"] > 0 and run.doc["connects"]["replaced"] == 0


def test_the_path_is_what_was_asked_for():
    with served(http(lambda n, path: page(path.encode()))) as target:
        assert loadgen(target, *HTTP, "--path", "/a/b?c", "--expect", "/a/b?c").good
        hasty = loadgen(target, *HTTP, "--delay", "5ms", "--expect", "/delay/5")
        assert loadgen(target, *HTTP, "--work", "20us", "--expect", "/work/20").good
        assert loadgen(target, *HTTP, "--reply", "1000", "--expect", "/bytes/1000").good
    assert set(hasty.failures) == {"too_soon"}  # this server does not wait


def test_a_status_that_is_not_expected_ends_the_run_before_it_begins():
    with served(http(lambda n, path: page(b"no\n", status="404 Not Found"))) as target:
        run = loadgen(target, *HTTP)
        wanted = loadgen(target, *HTTP, "--expect-status", "404")
    assert run.status == 1 and "404" in run.doc["error"]
    assert wanted.good and wanted.doc["expected"]["status"] == 404


def ping(handler):
    while handler.rfile.readline():
        handler.wfile.write(b"+PONG\r\n")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", [("--expect", r"+PONG\r\n"), ("--until", r"\r\n"), ("--reply", "7")])
def test_raw(how, engine):
    with served(ping) as target:
        run = loadgen(
            target, "--protocol", "raw", "--connections", 3, "--depth", 4, "--send", r"PING\r\n", *how, "--engine",
            engine
        )
    assert run.good, run.err
    assert run.doc["counts"]["received_bytes"] == 7 * (run.doc["counts"]["ok"] + run.doc["counts"]["warmup_ok"])


def test_raw_from_files(tmp_path):
    (tmp_path / "send").write_bytes(b"PING\r\n")
    (tmp_path / "reply").write_bytes(b"+PANG\r\n")
    with served(ping) as target:
        run = loadgen(
            target, "--protocol", "raw", "--connections", 3, "--send", f"@{tmp_path}/send", "--expect",
            f"@{tmp_path}/reply",
        )
    assert run.bad and set(run.failures) == {"mismatch"}


@pytest.mark.parametrize("engine", ENGINES)
def test_addresses(tmp_path, engine):
    for where in ({"unix": tmp_path / "s"}, {"ipv6": True}, {}):
        with served(echo, **where) as target:
            run = loadgen(
                target, *"--protocol echo --connections 5 --idle 5 --duration 100ms".split(), "--engine", engine
            )
        assert run.good, run.err
