"""Figures that theory knows: the queue M/D/1, and the gaps of a Poisson process as a server sees them."""
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import attempts, loadgen, peer
from scipy import stats

CONFIDENCE = 0.9999  # of a run of this test that finds nothing wrong


def mean_ns(load: dict) -> float:
    assert load["latency_intended_ns"]["unfinished"] == 0
    return load["latency_intended_ns"]["mean"]


def queue_at(utilisation: float, service_ns: int, seed: int, duration: str) -> float:
    """The mean response of one queue from its steady state on: the warm-up is ten times its relaxation time, which is
    about S / (2 * (1 - sqrt(rho))^2), 45 service times at 0.8."""
    rate = utilisation * 1e9 / service_ns
    with peer(service=service_ns) as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 40 --arrival poisson --drain 20s --timeout 20s".split(),
            "--rate", f"{rate:.3f}", "--warmup", f"{450 * service_ns / 1e9:.3f}s", "--duration", duration, "--seed",
            seed,
        )
    assert run.good, run.err
    return mean_ns(run.doc)


def alone(service_ns: int) -> float:
    """The service time as this client measures it on this host now, while the queues run: one request at a time, far
    apart."""
    with peer(service=service_ns) as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 1 --drain 20s --duration 4s".split(), "--rate",
            f"{0.2e9 / service_ns:.3f}",
        )
    assert run.good, run.err
    return mean_ns(run.doc)


def check_queue(runs: int, duration: str, service_ns: int) -> tuple[float, float]:
    """M/D/1 at utilisation 0.8: a request waits rho / (2 * (1 - rho)) = 2 service times on average (Pollaczek and
    Khinchine), so that its mean response is 3. Each run is one queue of its own seed; the interval is Student's, of
    their means, so the spread that these queues really have is the tolerance. Returns how far the mean is from theory,
    and half the interval, in units of S."""
    with ThreadPoolExecutor(runs + 1) as pool:
        service = pool.submit(alone, service_ns)
        means = list(pool.map(lambda seed: queue_at(0.8, service_ns, seed, duration), range(1, runs + 1)))
    expected_ns = service.result() + 2 * service_ns
    half = stats.t.ppf((1 + CONFIDENCE) / 2, runs - 1) * stats.sem(means)
    return (sum(means) / runs - expected_ns) / service_ns, half / service_ns


def test_a_queue_of_known_theory():
    """The short form: 16 queues of 640 services each. It can fail: a latency that is counted from the send is short of
    theory by about two S, more than the widest interval that is believed. A crowded host can only add, to all queues at
    once: what is too short is an error at once, what is too long or too wide is asked again."""
    told = attempts(4, lambda: check_queue(16, "8s", 10_000_000), lambda result: abs(result[0]) <= result[1] < 1.6)
    assert all(off >= -half for off, half in told)


@pytest.mark.long
def test_a_queue_of_known_theory_at_length():
    off, half = check_queue(16, "60s", 4_000_000)
    assert abs(off) <= half
    assert half < 0.6


def gaps(rate: float, seconds: int, seed: int) -> list[float]:
    """Inter-arrival times that the server has seen, in units of their mean."""
    with peer(arrivals=10_000) as server:
        run = loadgen(
            server.target, *"--protocol echo --connections 50 --arrival poisson --drain 20s --timeout 20s".split(),
            "--rate", rate, "--duration", f"{seconds}s", "--seed", seed,
        )
        arrivals = sorted(server.stop()["arrivals_ns"])
    assert run.good and len(arrivals) == run.doc["counts"]["ok"]
    return [(b - a) * rate / 1e9 for a, b in zip(arrivals, arrivals[1:])]


def fit(rate: float, seconds: int, runs: int) -> float:
    """The p-value (Kolmogorov and Smirnov) that the gaps of these runs are exponential with the mean that was asked
    for."""
    with ThreadPoolExecutor(runs) as pool:
        seen = pool.map(lambda seed: gaps(rate, seconds, seed), range(1, runs + 1))
    return stats.kstest([gap for one in seen for gap in one], "expon").pvalue


def test_gaps_are_exponential_where_they_arrive():
    """At 10 a second a host's own delays are small against the gaps. A crowded one can only spoil a fit: it is tried
    again."""
    attempts(4, lambda: fit(10, 6, 8), lambda p: p > 0.001)


@pytest.mark.long
def test_gaps_are_exponential_at_length():
    attempts(3, lambda: fit(50, 25, 4), lambda p: p > 0.001)


def test_constant_gaps_are_no_exponential_ones():
    """The same test tells the two apart, so it can fail."""
    with peer(arrivals=10_000) as server:
        loadgen(server.target, *"--protocol echo --connections 50 --rate 200 --duration 2s".split())
        arrivals = sorted(server.stop()["arrivals_ns"])
    constant = [(b - a) / 5e6 for a, b in zip(arrivals, arrivals[1:])]
    assert stats.kstest(constant, "expon").pvalue < 1e-6
    assert math.isclose(sum(constant), len(constant), rel_tol=0.2)
