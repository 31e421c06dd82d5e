"""Random mixtures of options against random liars: whatever happens, the identity holds, the JSON is by its schema, and
the truth is never called a lie."""
import random

import pytest
from conftest import loadgen, peer

LIES = ("", "", "wrong", "extra", "short", "duplicate", "reorder", "foreign", "reset", "early", "silent")


def some_options(rng: random.Random, size: int) -> list:
    depth = rng.choice([1, 1, 2, 8, 100])
    words = [
        "--protocol", "echo", "--size", size, "--connections", rng.choice([1, 2, 5, 40]), "--depth", depth, "--engine",
        rng.choice(["epoll", "io_uring"]), "--wait", rng.choice(["block", "spin"]), "--duration",
        rng.choice(["1ms", "50ms", "200ms"]), "--warmup", rng.choice(["0", "30ms"]), "--drain",
        rng.choice(["0", "100ms"]),
    ]
    if rng.random() < 0.3:
        words += ["--per-connection", depth * rng.choice([1, 2, 5])]
    if rng.random() < 0.3:
        words += ["--idle", rng.choice([1, 10])]
    if rng.random() < 0.5:
        words += [
            "--rate", rng.choice(["1k", "5k", "50k"]), "--arrival", rng.choice(["constant", "poisson"]),
            *rng.choice([(), ("--shed", "5ms")]),
        ]
    elif rng.random() < 0.3:
        words += ["--think", "1ms"]
    if rng.random() < 0.2:
        words += ["--send-part", rng.choice([1, 7, 1000]), "--send-every", rng.choice(["0", "1ms"])]
    if rng.random() < 0.2:
        words += ["--read-part", rng.choice([1, 100, 60000]), "--read-every", "1ms"]
    if rng.random() < 0.2:
        words += ["--population", "p: --connections 2 --per-connection 3"]
    return words


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(8, 100))])
def test_any_mixture(seed):
    rng = random.Random(seed)
    for _ in range(3):
        lie, size = rng.choice(LIES), rng.choice([1, 10, 16, 64, 500, 5000, 65536])
        with peer(size=size, **({"lie": lie, "every": rng.choice([1, 2, 3, 7, 50])} if lie else {})) as server:
            run = loadgen(
                server.target, *some_options(rng, size), "--timeout", rng.choice(["20ms", "5s"]) if lie else "20s"
            )
        if run.status == 2:
            assert "--rate: a request takes at least" in run.err  # not all that is drawn here is possible
            continue
        assert run.status in (0, 1, 3) and run.kept, run.err
        if not lie:
            assert run.failures == {}, run.err
