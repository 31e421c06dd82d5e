"""Classes of requests on the same connections, and paths with numbers: what is drawn, and what is told of each."""
import json
import math
import subprocess

import pytest
from conftest import ENGINES, LOADGEN, loadgen, peer
from servers import http, page, served

TWO = ("--class", "small: --weight 9 --reply 10", "--class", "large: --reply 5000 --size 1000 --delay 5ms")


def by_name(load: dict) -> dict:
    return {one["name"]: one for one in load["classes"]}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("depth", [1, 7])
def test_classes_have_their_own_requests_and_figures(engine, depth):
    with peer(protocol="frame") as server:
        run = loadgen(
            server.target, *"--protocol frame --connections 20 --rate 2k --arrival poisson".split(), *TWO, "--depth",
            depth, "--engine", engine, "--drain", "20s"
        )
        messages = server.stop()["messages"]
    small, large = by_name(run.doc)["small"], by_name(run.doc)["large"]
    assert run.good, run.err
    assert messages == run.doc["counts"]["scheduled"] == small["counts"]["ok"] + large["counts"]["ok"]
    assert run.doc["counts"]["received_bytes"] == 26 * small["counts"]["ok"] + 5016 * large["counts"]["ok"]
    assert run.doc["counts"]["sent_bytes"] == 80 * small["counts"]["ok"] + 1016 * large["counts"]["ok"]
    assert large["latency_sent_ns"]["min"] >= 5_000_000
    assert small["share"] == small["counts"]["scheduled"] / run.doc["counts"]["scheduled"]
    assert small["config"]["reply"] == 10 and large["config"]["delay_ns"] == 5_000_000 and large["weight"] == 1
    for kind in ("latency_intended_ns", "latency_sent_ns"):
        bins = {}
        for low, n in small[kind]["bins"] + large[kind]["bins"]:
            bins[low] = bins.get(low, 0) + n
        assert sorted(bins.items()) == [tuple(pair) for pair in run.doc[kind]["bins"]]


def test_weights_are_kept_and_seeded():
    """The number of requests of a class is binomial: five standard deviations. The draw is of the schedule, not of the
    server."""
    def drawn(seed, delay):
        with peer(protocol="frame", delay=delay) as server:
            run = loadgen(
                server.target, *"--protocol frame --connections 40 --rate 10k --drain 0".split(), "--seed", seed,
                "--class", "a: --weight 3", "--class", "b: --weight 2", "--class", "c: --weight 5"
            )
        assert run.doc["counts"]["scheduled"] == 3000
        return [one["counts"]["scheduled"] for one in run.doc["classes"]]

    fast, slow, other = drawn(1, 0), drawn(1, 50_000_000), drawn(2, 0)
    assert fast == slow != other
    for n, share in zip(fast, (0.3, 0.2, 0.5)):
        assert abs(n - 3000 * share) < 5 * math.sqrt(3000 * share * (1 - share))


def test_a_request_that_is_never_sent_has_its_class():
    with peer(protocol="frame", lie="silent") as server:
        run = loadgen(
            server.target, *"--protocol frame --connections 4 --rate 400 --timeout 10s --drain 0".split(), *TWO
        )
    small = by_name(run.doc)["small"]
    assert small["counts"]["never_sent"] > 50 and small["latency_intended_ns"]["p50"] is None
    assert small["latency_intended_ns"]["unfinished"] == small["counts"]["scheduled"]


def test_errors_are_counted_in_their_class():
    with peer(protocol="frame", lie="hasty", every=1) as server:
        run = loadgen(
            server.target, *"--protocol frame --connections 3 --timeout 20s".split(), "--class", "small: --weight 9",
            "--class", "large: --delay 10s",
        )
    assert by_name(run.doc)["small"]["errors"] == {} and run.bad
    assert by_name(run.doc)["large"]["errors"] == run.doc["errors"] and set(run.doc["errors"]) == {"too_soon"}
    assert by_name(run.doc)["large"]["counts"]["ok"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_classes_of_http_have_their_own_paths_and_replies(engine):
    asked = {"/a": 0, "/bytes/3000": 0}

    def reply(number, path):
        asked[path] += 1
        return page(path.encode() * (1 if path == "/a" else 100))

    with served(http(reply)) as target:
        run = loadgen(target, *"--protocol http --connections 3 --depth 4".split(), "--engine", engine,
                      "--class", "a: --path /a --weight 2", "--class", "b: --reply 3000")
    classes = by_name(run.doc)
    assert run.good, run.err
    assert run.doc["expected"] is None and classes["b"]["expected"]["body_bytes"] == 1100
    # One more of each: the rehearsal.
    assert asked["/a"] == classes["a"]["counts"]["ok"] + 1 and asked["/bytes/3000"] == classes["b"]["counts"]["ok"] + 1


def test_classes_of_raw():
    def store(handler):
        while line := handler.rfile.readline():
            handler.wfile.write(b"+OK\n" if line == b"SET\n" else b"value\n")

    with served(store) as target:
        run = loadgen(
            target, *"--protocol raw --connections 3 --depth 5".split(), "--class",
            r"get: --weight 9 --send GET\n --until e\n", "--class", r"set: --send SET\n --expect +OK\n"
        )
    assert run.good, run.err
    assert all(one["counts"]["ok"] > 0 for one in run.doc["classes"])


def test_populations_have_classes_of_their_own():
    with peer(protocol="frame") as server:
        run = loadgen(server.target, *"--protocol frame --connections 3".split(), *TWO,
                      "--population", "same: --connections 2",
                      "--population", "mixed: --connections 2 --class 'x: --weight 1' --class 'y: --size 5'",
                      "--population", "plain: --connections 2 --reply 7")
    same, mixed, plain = run.doc["populations"]
    assert run.good, run.err
    assert [one["name"] for one in same["classes"]] == ["small", "large"] and plain["classes"] == []
    assert [one["config"]["size"] for one in mixed["classes"]] == [64, 5]


def test_percentiles_of_each_class_have_a_file(tmp_path):
    with peer(protocol="frame") as server:
        run = loadgen(
            server.target, *"--protocol frame --connections 3".split(), *TWO, "--hgrm", tmp_path / "run.v1.hgrm",
            "--population", "p: --connections 2"
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"run.v1{part}.hgrm" for part in ("", ".small", ".large", ".p", ".p.small", ".p.large"))
    for name, one in by_name(run.doc).items():
        text = (tmp_path / f"run.v1.{name}.hgrm").read_text()
        assert name in text.splitlines()[0] and f"Total count    = {one['counts']['ok']:12d}]" in text


def numbers_served(tmp_path, wrong=None):
    """A server of /file/N over a file that loadgen has made; block `wrong` is served in the place of 5."""
    path, seen = tmp_path / "file", set()
    assert subprocess.run([LOADGEN, "make-file", path, "40"]).returncode == 0
    content = path.read_bytes()

    def reply(_, path):
        number = int(path.removeprefix("/file/"))
        seen.add(number)
        block = wrong if number == 5 and wrong is not None else number
        return page(content[4096 * block:4096 * block + 4096]) if number < 40 else page(b"no", status="404 Not Found")

    return http(reply), seen


@pytest.mark.parametrize("engine", ENGINES)
def test_every_number_of_a_path_is_asked_for_and_checked(tmp_path, engine):
    handler, seen = numbers_served(tmp_path)
    with served(handler) as target:
        run = loadgen(
            target, *"--protocol http --connections 5 --depth 3 --path /file/{0..39} --rate 2k --drain 20s".split(),
            "--engine", engine
        )
    assert run.good, run.err
    assert run.doc["counts"]["ok"] == 600 and seen == set(range(40))
    assert run.doc["expected"] == {
        "path": "/file/{0..39}", "status": 200, "body_bytes": 4096, "learned": True, "compared": "blocks",
    }


@pytest.mark.parametrize("wrong, numbers, errors", [(6, "0..39", {"mismatch"}), (None, "0..49", {"status"})])
def test_a_wrong_block_and_a_number_beyond_the_end(tmp_path, wrong, numbers, errors):
    handler, seen = numbers_served(tmp_path, wrong)
    with served(handler) as target:
        run = loadgen(
            target, *"--protocol http --connections 5 --rate 2k --drain 20s --path".split(), f"/file/{{{numbers}}}"
        )
    assert set(run.failures) == errors and run.bad
    assert 0 < run.failures[errors.pop()] < 300


def test_numbers_of_unknown_content_are_held_to_their_length():
    with served(http(lambda n, path: page(path[-2:].encode()))) as target:
        run = loadgen(target, *"--protocol http --connections 3 --path /x{10..99}".split())
    assert run.good, run.err
    assert run.doc["expected"]["compared"] == "length" and run.doc["expected"]["body_bytes"] == 2


def test_a_file_of_blocks(tmp_path):
    assert subprocess.run([LOADGEN, "make-file", tmp_path / "f", "3"]).returncode == 0
    content = (tmp_path / "f").read_bytes()
    assert len(content) == 3 * 4096 and len({content[i:i + 8] for i in range(0, len(content), 8)}) == 3 * 512
    assert [int.from_bytes(content[4096 * i:4096 * i + 8], "big") for i in range(3)] == [0, 1, 2]

    def word(place):  # as docs/loadgen.md has it
        x = place * 0x9e3779b97f4a7c15 % 2**64
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 % 2**64
        x = (x ^ x >> 27) * 0x94d049bb133111eb % 2**64
        return x ^ x >> 31

    assert all(int.from_bytes(content[8 * i:8 * i + 8], "big") == word(i) for i in range(3 * 512) if i % 512)
    for wrong in ([], [tmp_path / "g"], [tmp_path / "g", "0"], [tmp_path / "g", "x"]):
        assert subprocess.run([LOADGEN, "make-file", *wrong], capture_output=True).returncode == 2
    lost = subprocess.run([LOADGEN, "make-file", tmp_path / "no" / "g", "1"], capture_output=True, text=True)
    assert lost.returncode == 1 and lost.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


FRAME = "--target 127.0.0.1:9 --protocol frame --connections 1".split()
WRONG = {
    "for echo": ["--target", "127.0.0.1:9", "--protocol", "echo", "--connections", "1", "--class", "a: --weight 1"],
    "no name": [*FRAME, "--class", ": --weight 1"],
    "a blank in the name": [*FRAME, "--class", "a b: --weight 1"],
    "two of a name": [*FRAME, "--class", "a: --weight 1", "--class", "a: --weight 2"],
    "no weight": [*FRAME, "--class", "a: --weight 0"],
    "weight outside": [*FRAME, "--weight", "3"],
    "load in a class": [*FRAME, "--class", "a: --depth 3"],
    "nothing but a value": [*FRAME, "--class", "a: 3"],
    "path of frame": [*FRAME, "--class", "a: --path /"],
    "too many": [*FRAME, *(word for i in range(9) for word in ("--class", f"c{i}: --weight 1"))],
    "delay beyond the timeout": [*FRAME, "--timeout", "1s", "--class", "a: --delay 2s"],
    "delay too long for a frame": [*FRAME, "--delay", "17s", "--timeout", "1m"],
    "delay too fine": [*FRAME, "--delay", "1500ns"],
    "work too long": [*FRAME, "--work", "66ms"],
    "reply too long": [*FRAME, "--reply", "17MiB"],
    "payload too long": [*FRAME, "--size", "64KiB"],
    "two targets": [
        "--target", "127.0.0.1:9", "--protocol", "http", "--connections", "1", "--class", "a: --path / --reply 3",
    ],
    "two ranges": ["--target", "127.0.0.1:9", "--protocol", "http", "--connections", "1", "--path", "/{1..2}/{1..2}"],
    "a range of nothing": ["--target", "127.0.0.1:9", "--protocol", "http", "--connections", "1", "--path", "/{2..1}"],
    "no range": ["--target", "127.0.0.1:9", "--protocol", "http", "--connections", "1", "--path", "/{a}"],
    "a brace": ["--target", "127.0.0.1:9", "--protocol", "http", "--connections", "1", "--path", "/}"],
    "raw class without an end": [
        "--target", "127.0.0.1:9", "--protocol", "raw", "--connections", "1", "--class", "a: --send x",
    ],
}


@pytest.mark.parametrize("case", WRONG)
def test_contradictions_are_said_before_the_run(case):
    done = subprocess.run([LOADGEN, *WRONG[case], "--json", "-"], capture_output=True, timeout=20)
    assert done.returncode == 2 and done.stderr.startswith(b"loadgen: ") and done.stderr.count(b"\n") == 1
    assert json.loads(done.stdout)["exit"] == 2
