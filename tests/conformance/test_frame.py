"""frame: replies of every size in order, delays and work from the header, and how a connection ends."""
from __future__ import annotations

import math
import random
import time

import pytest

from harness import proc
from harness.client import Client, difference, fill, pump
from harness.frames import HEADER_BYTES, Frame, malformed
from harness.model import Model
from harness.server import Server

pytestmark = [pytest.mark.speaks("frame"), pytest.mark.wire]

LARGEST = 1 << 24
CASES = {
    "nothing": Frame(),
    "one byte": Frame(reply=1, id=1),
    "an id in the middle of the pattern": Frame(reply=200, id=0x01020329),
    "the largest id": Frame(reply=130, id=0xFFFFFFFF),
    "a payload": Frame(reply=5, payload=b"\xff" * 37, id=9),
    "a payload that looks like a frame": Frame(reply=5, payload=Frame(reply=99).request, id=10),
    "the largest payload": Frame(reply=5, payload=bytes(65535), id=11),
    "a reply of a block": Frame(reply=32728, id=12),
    "a large reply": Frame(reply=100_000, payload=b"x" * 1000, id=13),
    "the largest reply": Frame(reply=LARGEST, id=14),
    "work": Frame(reply=3, work_us=700, id=15),
    "a delay": Frame(reply=3, delay_us=700, id=16),
    "a delay, then work": Frame(reply=3, delay_us=700, work_us=700, id=17),
}
MALFORMED = {
    "an unknown flag": malformed(flags=2),
    "an unknown flag beside CLOSE": malformed(flags=0x81),
    "a reply one byte too large": malformed(reply=LARGEST + 1),
    "a reply far too large": malformed(reply=0xFFFFFFFF),
    "before its payload has come": malformed(flags=4, size=65535),
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


def answers(frames: list[Frame]) -> bytes:
    return b"".join(frame.answer for frame in frames)


def requests(frames: list[Frame]) -> bytes:
    return b"".join(frame.request for frame in frames)


@pytest.mark.parametrize("case", CASES)
def test_the_reply(model: Model, protocol: str, serve, case: str) -> None:
    """Twice over one connection: a reply of a wrong length would shift the second."""
    frame, client = CASES[case], serve(protocol).connect()
    for _ in range(2):
        client.send(frame.request)
        client.expect(frame.answer)
    client.expect_silence(0.01)
    client.half_close()
    client.expect_eof()


def test_one_byte_at_a_time(model: Model, protocol: str, serve) -> None:
    client = serve(protocol).connect()
    frames = [Frame(reply=20, payload=b"x" * 30, id=1), Frame(reply=1000, delay_us=100, work_us=10, id=2), Frame(id=3)]
    for byte in requests(frames):
        client.send(bytes([byte]))
        time.sleep(0.0005)
    client.expect(answers(frames))


def test_split_at_every_point(model: Model, protocol: str, serve) -> None:
    """Two frames in three pieces: at every cut of the first, the second is cut at the mirrored point."""
    client = serve(protocol).connect()
    frame = Frame(reply=50, payload=b"payload", delay_us=1, id=77)
    request = frame.request
    for cut in range(1, len(request)):
        client.send(request[:cut])
        time.sleep(0.003)
        client.send(request[cut:] + request[:-cut])
        time.sleep(0.003)
        client.send(request[-cut:])
        client.expect(2 * frame.answer)


def mixed_frames(count: int, seed: int) -> list[Frame]:
    dice = random.Random(seed)
    return [Frame(reply=dice.choice([0, 1, 64, 700, 5000, 40_000]), payload=dice.randbytes(dice.choice([0, 3, 90])),
                  work_us=dice.choice([0, 0, 20]), delay_us=dice.choice([0, 0, 0, 900]), id=dice.getrandbits(32))
            for _ in range(count)]


def test_100_frames_in_one_segment_are_answered_in_order(model: Model, protocol: str, serve) -> None:
    """Of every kind, each under its own id; their delays add up, because each begins when its turn has come."""
    client = serve(protocol).connect()
    for seed in range(3):
        frames = mixed_frames(100, seed)
        start = time.monotonic()
        client.send(requests(frames))
        client.expect(answers(frames))
        assert time.monotonic() - start >= sum(frame.delay_us for frame in frames) / 1e6, "some delay ended early"


def test_pipelined_delays_begin_when_their_turn_comes(model: Model, protocol: str, serve) -> None:
    client, frame = serve(protocol).connect(), Frame(reply=10, delay_us=60_000, id=5)
    start = time.monotonic()
    client.send(frame.request * 5)
    for i in range(1, 6):
        client.expect(frame.answer)
        assert time.monotonic() - start >= i * 0.060, f"reply {i} came before {i} delays of 60 ms were over"


@pytest.mark.parametrize("delay_us", [1, 1000, 7300, 100_000])
def test_a_delay_is_never_early(model: Model, protocol: str, serve, delay_us: int) -> None:
    """And it is the request's own: those around it have none."""
    client = serve(protocol).connect()
    for i in range(5):
        around, frame = Frame(reply=4, id=i), Frame(reply=4, delay_us=delay_us, id=100 + i)
        start = time.monotonic()
        client.send(around.request + frame.request + around.request)
        client.expect(around.answer + frame.answer)
        took = time.monotonic() - start
        assert took >= delay_us / 1e6, f"the reply came after {took * 1e6:.0f} us, the delay is {delay_us} us"
        client.expect(around.answer)


def finish_order(server: Server, delays_us: list[int]) -> list[int]:
    """One delayed frame per connection, all at once: in which order are they answered? None may be early."""
    waiting: dict[int, tuple[Client, float]] = {}
    for delay_us in delays_us:
        client = server.connect()
        waiting[delay_us] = client, time.monotonic()
        client.send(Frame(reply=8, delay_us=delay_us, id=delay_us).request)
    order: list[int] = []
    while waiting:
        for delay_us, (client, start) in list(waiting.items()):
            if client.readable(0.001):
                client.expect(Frame(reply=8, delay_us=delay_us, id=delay_us).answer)
                took = time.monotonic() - start
                assert took >= delay_us / 1e6, f"a delay of {delay_us} us was over after {took * 1e6:.0f} us"
                client.close()
                order.append(delay_us)
                del waiting[delay_us]
        assert time.monotonic() - start < 60 or not waiting, f"no reply to delays of {sorted(waiting)} us"
    return order


def test_mixed_delays_do_not_hold_each_other_up(model: Model, protocol: str, serve) -> None:
    """Asked in random order over as many connections. Nobody is answered after one whose delay is far longer, by what
    a busy machine cannot make of it; by a model that serves one client at a time, all are in the order of arrival."""
    server, dice = serve(protocol), random.Random(7)
    delays = [100_000 + 120_000 * i for i in range(8 if not model.alone else 3)]
    for _ in range(3):
        dice.shuffle(delays)
        order = finish_order(server, delays)
        passed = [(a, b) for i, a in enumerate(order) for b in order[i:] if a - b >= 350_000]
        if order == delays if model.alone else not passed:
            return
    raise AssertionError(f"asked {delays}, answered {order}: held up, three times")


@pytest.mark.having("delay-blocks")
def test_delay_blocks_lets_a_sleeping_thread_serve_nobody_else(model: Model, protocol: str, serve) -> None:
    server = serve(protocol, "--delay-blocks", *(["--workers", "3"] if model.has("workers") else []))
    before, frame = proc.sockets(server.pid), Frame(reply=1, delay_us=60_000)
    clients = [server.connect() for _ in range(8)]
    served = server.model.at_once(8)
    proc.eventually(lambda: proc.sockets(server.pid) == before + served, "the clients are accepted")
    threads = proc.user_threads(server.pid)
    start = time.monotonic()
    for client in clients:
        client.send(frame.request)
    for client in clients:
        client.expect(frame.answer)
        client.close()
    took, least = time.monotonic() - start, math.ceil(8 / threads) * 0.060
    assert took >= least, f"{took:.3f} s: {threads} sleeping threads need {least:.3f} s for 8 delays of 60 ms"


def test_work_burns_cpu_in_proportion(model: Model, protocol: str, serve) -> None:
    """Three times the work, three times the CPU; the least of a few tries, since noise only ever adds."""
    server = serve(protocol, "--loops-per-us", "200")
    client = server.connect()

    def cost(work_us: int) -> float:
        before = proc.cpu_s(server.pid)
        frames = [Frame(reply=1, work_us=work_us, id=i) for i in range(model.of_work(5))]
        client.send(b"".join(frame.request for frame in frames))
        client.expect(b"".join(frame.answer for frame in frames))
        return proc.cpu_s(server.pid) - before

    cost(1000)
    small, large = (min(cost(us) for _ in range(3)) for us in (10_000, 30_000))
    nothing = min(cost(0) for _ in range(3))
    assert 2 < large / small < 4.5, f"30 ms of work took {large:.4f} s of CPU, 10 ms took {small:.4f} s"
    assert model.spins or nothing < small / 4, f"no work took {nothing:.4f} s of CPU, 10 ms took {small:.4f} s"


def test_the_flag_close(model: Model, protocol: str, serve) -> None:
    """Nothing behind it is served, and whatever the client still sends is read and dropped: never a reset."""
    server = serve(protocol)
    client = server.connect()
    first, last = Frame(reply=70_000, id=1), Frame(reply=9, payload=b"abc", delay_us=500, close=True, id=2)
    client.send(first.request + last.request + Frame(reply=5).request)
    client.expect(first.answer + last.answer)
    client.expect_eof()
    for _ in range(3):  # the second write after a reset would raise EPIPE or ECONNRESET
        client.send(Frame(reply=5).request)
        time.sleep(0.005)
    client.half_close()
    client.expect_eof()
    client.close()
    stats = server.stop()
    assert stats["errors"] == {} and stats["requests"] == 2


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_header_ends_the_connection(model: Model, protocol: str, serve, case: str) -> None:
    """Without a reply to it, after the replies to those before it."""
    client = serve(protocol).connect()
    good = [Frame(reply=100_000, id=3), Frame(reply=2, delay_us=5000, id=4)]
    client.send(requests(good) + MALFORMED[case] + Frame(reply=5).request)
    client.expect(answers(good))
    client.expect_eof()
    client.half_close()
    client.expect_eof()


def test_unread_input_does_not_turn_the_end_into_a_reset(model: Model, protocol: str, serve) -> None:
    client, frame = serve(protocol).connect(), Frame(reply=10, id=6)
    got = pump(client, frame.request + malformed(flags=8) + b"z" * 500_000)
    assert got == frame.answer, difference(got, frame.answer)


def test_half_close_keeps_what_is_owed(model: Model, protocol: str, serve) -> None:
    """The FIN arrives long before the replies have left: they do not fit the server's socket."""
    client = serve(protocol).connect(receive_buffer=4096)
    frames = [Frame(reply=70_000, payload=b"p" * 50, id=i) for i in range(20)]
    frames += [Frame(reply=4_000_000, id=90), Frame(reply=1, delay_us=50_000, id=91), *frames]
    client.send(requests(frames))
    client.half_close()
    time.sleep(0.1)
    client.expect(answers(frames))
    client.expect_eof()


@pytest.mark.parametrize("kept", [1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 9])
def test_half_a_frame_gets_no_reply(model: Model, protocol: str, serve, kept: int) -> None:
    client, whole = serve(protocol).connect(), Frame(reply=5, id=1)
    client.send(whole.request + Frame(reply=6, payload=b"0123456789", id=2).request[:kept])
    client.half_close()
    client.expect(whole.answer)
    client.expect_eof()


def test_half_close_keeps_what_a_full_socket_still_owes(model: Model, protocol: str, serve) -> None:
    """Pipelined until the server is stuck on its full socket, then a FIN behind it all."""
    client, frame = serve(protocol).connect(receive_buffer=4096), Frame(reply=2000, payload=b"y" * 500, id=21)
    taken = fill(client, frame.request)
    client.half_close()
    got, expected = client.receive_all(), frame.answer * (taken // len(frame.request))
    assert got == expected, difference(got, expected)


def test_many_frames_over_one_connection(model: Model, protocol: str, serve) -> None:
    server = serve(protocol)
    client = server.connect()
    for i in range(500):
        frame = Frame(reply=i % 130, payload=bytes(i % 7), id=i * 2654435761 % (1 << 32))
        client.send(frame.request)
        client.expect(frame.answer)
    client.close()
    assert server.stop()["requests"] == 500
