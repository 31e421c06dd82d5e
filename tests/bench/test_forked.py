"""Servers that fork for their clients: what their children burn is found, or said to be missing; never left out."""

import os
import signal
import subprocess
import sys

import pytest

from bench import host, metrics, serve

BURN_S = 0.3
# Forks a child that burns CPU and waits for it when a line comes; then one that lives on.
PARENT = f"""
import os, sys, time
def burn():
    end = time.process_time() + {BURN_S}
    while time.process_time() < end: pass
print("ready", flush=True)
sys.stdin.readline()
child = os.fork()
if not child:
    burn()
    os._exit(0)
os.waitpid(child, 0)
print("reaped", flush=True)
sys.stdin.readline()
if not os.fork():
    time.sleep(60)
print("living", flush=True)
time.sleep(60)
"""


@pytest.fixture
def parent():
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               process_group=0)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_children_are_noticed_dead_or_alive(parent: subprocess.Popen) -> None:
    def next_line() -> str:
        return parent.stdout.readline().strip()

    assert next_line() == "ready"
    known, faults = serve.group_of(parent.pid), host.reaped_faults(parent.pid)
    assert not serve.forked(parent.pid, known, faults)
    for what in ("reaped", "living"):
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert next_line() == what
        assert serve.forked(parent.pid, known, faults)
        faults = host.reaped_faults(parent.pid)  # from now on only what lives can tell
    assert serve.forked(parent.pid, known, faults)
    assert not serve.forked(parent.pid, serve.group_of(parent.pid), faults)


def record(forked: bool, **watched: int) -> dict:
    return {
        "server": {"pids": [7], "forked": forked, "peak_rss_kib": 5000, "rss_fresh_kib": 1000},
        "load": {"watch": [{"pid": 7, "cpu_ns": 1000, **watched}]}, "options": {"connections": 100},
    }


def test_cpu_that_nobody_counted_is_no_figure() -> None:
    assert metrics.server_cpu_ns(record(False)) == 1000
    assert metrics.server_cpu_ns(record(True)) is None
    assert metrics.server_cpu_ns(record(True, children_cpu_ns=5000)) == 6000
    assert metrics.rss_per_connection(record(False)) == 40
    assert metrics.rss_per_connection(record(True)) is None
