"""Delays and work: never early, side by side as far as the model can, and burnt where the model says.

One law bounds every model from below, whatever its name: a thread that sleeps in its handler serves nobody else.
With T threads, N sleeping requests of D seconds take at least ceil(N / T) * D. Event loops with timers are the
ones that escape it.
"""
from __future__ import annotations

import math
import random
import time

import pytest

from harness import proc
from harness.client import Client, get, reply
from harness.model import Model
from harness.server import Server

HOME = reply(b"muxbench\n")
HELLO = b"Hello Alice\n"
TRIES = 3


def ask(client: Client, protocol: str, delay_ms: int) -> None:
    client.send(b"Alice\n" if protocol == "greet" else get(f"/delay/{delay_ms}"))


def answered(client: Client, protocol: str) -> None:
    client.expect(HELLO if protocol == "greet" else HOME)


def makespan(server: Server, protocol: str, count: int, delay_ms: int) -> tuple[float, int]:
    """Seconds until `count` clients with a delay each, all asking at once, are served and gone; and the server's
    threads, counted when all of them are connected."""
    before = proc.sockets(server.pid)
    clients = [server.connect() for _ in range(count)]
    served = server.model.at_once(count)
    proc.eventually(lambda: proc.sockets(server.pid) == before + served, "the clients are accepted")
    threads = proc.user_threads(server.pid)
    start = time.monotonic()
    for client in clients:
        ask(client, protocol, delay_ms)
    for client in clients:
        answered(client, protocol)
        client.close()
    took = time.monotonic() - start
    proc.eventually(lambda: proc.sockets(server.pid) == before, "the clients that left are closed")
    return took, threads


@pytest.mark.speaks("greet", "http")
@pytest.mark.parametrize("delay_ms", [1, 7, 100])
def test_a_delay_is_never_early(model: Model, protocol: str, serve, delay_ms: int) -> None:
    server = serve(protocol, "--delay", f"{delay_ms}ms")
    for _ in range(5):
        with server.connect() as client:
            start = time.monotonic()
            client.send(b"Alice\n" if protocol == "greet" else get("/"))
            answered(client, protocol)
            took = time.monotonic() - start
            assert took >= delay_ms / 1000, f"the reply came after {took * 1000:.3f} ms, the delay is {delay_ms} ms"


@pytest.mark.speaks("greet")
@pytest.mark.parametrize("text,least_s",
                         [("1500us", 0.0015), ("2500000ns", 0.0025), ("0.05", 0.05), ("0", 0), ("1s", 1)])
def test_every_way_to_write_a_time(model: Model, protocol: str, serve, text: str, least_s: float) -> None:
    client = serve(protocol, "--delay", text).connect()
    start = time.monotonic()
    client.send(b"Alice\n")
    client.expect(HELLO)
    assert time.monotonic() - start >= least_s, f"--delay {text} was over after {time.monotonic() - start} s"


@pytest.mark.speaks("http")
def test_a_delay_of_its_own_replaces_the_servers(model: Model, protocol: str, serve) -> None:
    client = serve(protocol, "--delay", "15s").connect()
    start = time.monotonic()
    client.send(get("/delay/20"))
    client.expect(HOME)
    assert 0.020 <= time.monotonic() - start < 15


@pytest.mark.speaks("http")
def test_what_the_servers_delay_is_not_for(model: Model, protocol: str, serve) -> None:
    client = serve(protocol, "--delay", "15s").connect()
    start = time.monotonic()
    client.send(get("/nothing") + get("/work/1") + get("/delay/0"))
    client.expect(reply(b"not found\n", "404 Not Found") + HOME + HOME)
    assert time.monotonic() - start < 15


@pytest.mark.speaks("greet", "http")
def test_delays_pass_side_by_side_as_far_as_the_model_can(model: Model, protocol: str, serve) -> None:
    """One client at a time: the delays add up (this is what `blocking` teaches). P workers that sleep: ceil(N / P)
    rounds. Anything else waits for all at once, and the makespan is far below the sum."""
    count, delay_ms = (4, 150) if model.alone else (40, 300)
    server = serve(protocol, "--delay", f"{delay_ms}ms")
    took = min(makespan(server, protocol, count, delay_ms)[0] for _ in range(TRIES if not model.alone else 1))
    rounds = math.ceil(count / (model.waits_at_once or count))
    assert took >= rounds * delay_ms / 1000, f"{took:.3f} s: less than {rounds} rounds of {delay_ms} ms"
    if not model.alone:
        all_in_turn_s = count * delay_ms / 1000
        assert took < all_in_turn_s / 2, f"{took:.3f} s for {count} delays of {delay_ms} ms: one after another?"


@pytest.mark.speaks("greet", "http")
@pytest.mark.having("workers")
@pytest.mark.parametrize("workers", [1, 4])
def test_workers_cap_the_delays_at_once(model: Model, protocol: str, serve, workers: int) -> None:
    """The ceiling of a pool: P workers that sleep D seconds each serve P / D requests a second, whatever the
    number of clients."""
    count, delay_s = 3 * workers, 0.1
    server = serve(protocol, "--delay", f"{delay_s}", "--workers", str(workers))
    took, _ = makespan(server, protocol, count, int(delay_s * 1000))
    assert took >= 3 * delay_s, f"{took:.3f} s for {count} delays of {delay_s} s: more than {workers} workers at once"


@pytest.mark.speaks("greet", "http")
@pytest.mark.having("delay-blocks")
def test_delay_blocks_lets_a_sleeping_thread_serve_nobody_else(model: Model, protocol: str, serve) -> None:
    """The classical mistake, on request: an event loop that sleeps in its handler becomes one-at-a-time."""
    server = serve(protocol, "--delay", "60ms", "--delay-blocks", *(["--workers", "3"] if model.has("workers") else []))
    took, threads = makespan(server, protocol, 8, 60)
    least = math.ceil(8 / threads) * 0.060
    assert took >= least, f"{took:.3f} s: {threads} sleeping threads need {least:.3f} s for 8 delays of 60 ms"
    if not model.has("workers") and threads < 8:
        assert took >= 8 * 0.060, f"{took:.3f} s: the loop went on while it should have slept"


@pytest.mark.speaks("http")
def test_concurrent_delays_end_in_the_order_of_their_deadlines(model: Model, protocol: str, serve) -> None:
    """Asked in random order. One client at a time serves in the order of arrival instead, and never early either."""
    server, dice = serve(protocol), random.Random(3)
    delays = [100 + 60 * i for i in range(8 if not model.alone else 4)]
    for attempt in range(TRIES):
        dice.shuffle(delays)
        order = finish_order(server, delays)
        expected = list(delays) if model.alone else sorted(delays)
        if order == expected:
            return
    raise AssertionError(f"asked {delays}, served {order}, {TRIES} times not in the order {expected}")


def finish_order(server: Server, delays: list[int]) -> list[int]:
    """Send one /delay/MS per connection, and tell in which order they were answered; none may be early."""
    waiting: dict[int, tuple[Client, float]] = {}
    for ms in delays:
        client = server.connect()
        waiting[ms] = client, time.monotonic()
        client.send(get(f"/delay/{ms}"))
    order = []
    while waiting:
        for ms, (client, start) in list(waiting.items()):
            if client.readable(0.001):
                client.expect(HOME)
                took = time.monotonic() - start
                assert took >= ms / 1000, f"/delay/{ms} was answered after {took * 1000:.3f} ms"
                client.close()
                order.append(ms)
                del waiting[ms]
        assert not order or not waiting or time.monotonic() - start < 60, f"no reply from {sorted(waiting)}"
    return order


@pytest.mark.speaks("http")
def test_a_short_request_passes_a_long_delay(model: Model, protocol: str, serve) -> None:
    """Another connection's delay holds nobody up, unless the model serves one client at a time: then it holds up
    all."""
    server = serve(protocol)
    slow, quick = server.connect(), server.connect()
    slow.send(get("/delay/400"))
    start = time.monotonic()
    time.sleep(0.02)
    quick.send(get("/bytes/1"))
    if model.alone:
        slow.expect(HOME)
        assert time.monotonic() - start >= 0.35
        quick.expect_silence(0.1)  # the first client is still there
        slow.close()
    quick.expect(reply(b"A"))
    if not model.alone:
        assert not slow.readable(0) or time.monotonic() - start >= 0.4
        slow.expect(HOME)


def cpu_of_work(server: Server, client: Client, us: int, count: int) -> float:
    before = proc.cpu_s(server.pid)
    client.send(get(f"/work/{us}") * count)  # at once, so that one that spins does so once meanwhile
    client.expect(HOME * count)
    return proc.cpu_s(server.pid) - before


@pytest.mark.speaks("http")
def test_work_burns_cpu_in_proportion(model: Model, protocol: str, serve) -> None:
    """Three times the work, three times the CPU; the least of a few tries, since noise only ever adds. One that spins
    burns its CPU without work, too."""
    server = serve(protocol, "--loops-per-us", "200")
    client = server.connect()
    cpu_of_work(server, client, 1000, 3)
    count = model.of_work(5)
    small = min(cpu_of_work(server, client, 10_000, count) for _ in range(TRIES))
    large = min(cpu_of_work(server, client, 30_000, count) for _ in range(TRIES))
    nothing = cpu_of_work(server, client, 0, count)
    assert 2 < large / small < 4.5, f"30 ms of work took {large:.4f} s of CPU, 10 ms took {small:.4f} s"
    assert model.spins or nothing < small / 4, f"/work/0 took {nothing:.4f} s of CPU, /work/10000 {small:.4f} s"


@pytest.mark.speaks("http")
def test_loops_per_us_scales_the_work(model: Model, protocol: str, serve) -> None:
    cost = {}
    for loops in ("100", "400"):
        server = serve(protocol, "--loops-per-us", loops)
        client = server.connect()
        cost[loops] = min(cpu_of_work(server, client, 10_000, model.of_work(4)) for _ in range(TRIES))
        server.leave()
    assert 2 < cost["400"] / cost["100"] < 8, f"four times the loops took {cost} s of CPU"


@pytest.mark.speaks("http")
def test_a_server_calibrates_itself_when_nobody_did(model: Model, protocol: str, serve) -> None:
    """Without --loops-per-us /work/US costs about US of CPU. A factor of four is allowed, and another start:
    calibration takes milliseconds, and a busy host can slow it down from beginning to end."""
    costs, most = [], 4 if not model.sanitizer else 16
    for _ in range(TRIES):
        server = serve(protocol, calibrated=False)
        client = server.connect()
        costs.append(min(cpu_of_work(server, client, 50_000, 2) for _ in range(TRIES)) / 2)
        server.leave()
        if 0.050 / 4 < costs[-1] < 0.050 * most:
            return
    raise AssertionError(f"/work/50000 took {costs} s of CPU, expected about 0.05")
