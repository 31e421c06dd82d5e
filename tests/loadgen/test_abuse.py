"""Whatever is done to a run (its server killed, stopped or resetting, its descriptors taken away, interrupted at any
moment), it ends on time, with one document by the schema in which every request has ended once. Run over sanitizers by
LOADGEN=.../loadgen."""
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import argv, finished, peer

LIMIT_S = 60  # far more than any of these runs can take
LIES = ("wrong", "extra", "short", "duplicate", "reorder", "foreign", "reset", "early", "silent")


def some_load(rng: random.Random, protocol: str, size: int) -> list:
    words = [
        "--protocol", protocol, "--size", size, "--engine", rng.choice(["epoll", "io_uring"]), "--wait",
        rng.choice(["block", "spin"]), "--connections", rng.choice([4, 30, 300, 1500]), "--depth",
        rng.choice([1, 1, 3, 30]), "--threads", rng.choice([1, 2, 4]), "--duration", rng.choice(["100ms", "700ms"]),
        "--warmup", rng.choice(["0", "100ms"]), "--drain", rng.choice(["0", "300ms"]), "--timeout",
        rng.choice(["30ms", "2s"]), "--connect-timeout", rng.choice(["20ms", "2s"]),
    ]
    words += rng.choice([(), (), ("--rate", rng.choice(["500", "20k", "1k:50k:300ms,100:100ms"])), ("--think", "2ms")])
    if "1k:50k:300ms,100:100ms" in words:
        del words[words.index("--duration"):words.index("--duration") + 2]
    if rng.random() < 0.4:
        words += ["--per-connection", words[words.index("--depth") + 1] * rng.choice([1, 3])]
    if rng.random() < 0.3:
        words += ["--rcvbuf", rng.choice([1, 1000, 100_000])]
    if rng.random() < 0.2:
        words += ["--idle", rng.choice([5, 500])]
    if rng.random() < 0.2:
        words += ["--send-part", rng.choice([1, 50]), "--send-every", rng.choice(["0", "1ms"])]
    if rng.random() < 0.2:
        words += ["--read-part", rng.choice([1, 5000]), "--read-every", rng.choice(["1us", "1ms"])]
    if rng.random() < 0.3:
        words += [
            "--population", "p: --connections 20 --per-connection 1", "--population",
            "q: --connections 5 --idle 5 --rate 2k --shed 1ms",
        ]
    if protocol == "frame":
        words += ["--reply", rng.choice([0, 100, 70_000])]
        words += rng.choice([(), ("--class", "a: --weight 5 --delay 1ms", "--class", "b: --reply 20000 --work 10us")])
    return words


def listens(load: subprocess.Popen) -> bool:
    """Has it come so far that SIGINT is no longer the shell's business?"""
    while load.poll() is None:
        status = Path(f"/proc/{load.pid}/status").read_text()
        if int(status.split("SigBlk:")[1].split()[0], 16) & 1 << (signal.SIGINT - 1):
            return True
        time.sleep(0.001)
    return False


def abuse(rng: random.Random, server: subprocess.Popen, load: subprocess.Popen, blows: list[str]) -> None:
    """Blows, each after a while."""
    if not listens(load):
        return
    for blow in blows:
        time.sleep(rng.choice([0, 0.01, 0.1, 0.3, 0.6]))
        if load.poll() is not None:
            return
        if blow == "kill":
            server.kill()
        elif blow == "stop":
            server.send_signal(signal.SIGSTOP)
            time.sleep(rng.choice([0.01, 0.2]))
            server.send_signal(signal.SIGCONT)
        elif blow == "interrupt":
            load.send_signal(signal.SIGINT)
        elif blow == "terminate":
            load.send_signal(signal.SIGTERM)
        elif blow == "descriptors":
            resource.prlimit(load.pid, resource.RLIMIT_NOFILE, (rng.choice([3, 15, 60]), 20000))


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(10, 150))])
def test_abuse(seed):
    rng = random.Random(1000 + seed)
    protocol, size = rng.choice(["echo", "frame"]), rng.choice([1, 16, 64, 3000, 65535])
    lie = {"lie": rng.choice(LIES), "every": rng.choice([1, 3, 100])} if rng.random() < 0.5 else {}
    delay = {"delay": rng.choice([100_000, 20_000_000])} if rng.random() < 0.3 else {}
    with peer(protocol=protocol, size=size, **lie, **delay) as server:
        words = some_load(rng, protocol, size)
        if rng.random() < 0.2:
            words += ["--pause", f"{server.process.pid}@50ms+{rng.choice(['1ms', '300ms', '10s'])}"]
        blows = rng.choices(
            ["kill", "stop", "interrupt", "terminate", "descriptors", "nothing"], k=rng.choice([1, 1, 3])
        )
        # Without descriptors the leak check cannot look around.
        env = {**os.environ, **({"ASAN_OPTIONS": "detect_leaks=0"} if "descriptors" in blows else {})}
        load = subprocess.Popen(argv(server.target, *words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        try:
            abuse(rng, server.process, load, blows)
            out, err = load.communicate(timeout=LIMIT_S)
        finally:
            load.kill()
            load.wait()
    # Descriptors may be taken away before it has looked how many it has; and not all that is drawn here is possible.
    refused = load.returncode == 2 and (b"file descriptors" in err or b"--rate: " in err)
    assert load.returncode in (0, 1, 3) or refused, (words, err.decode())
    finished(out, err, load.returncode)
