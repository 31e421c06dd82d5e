"""What a request costs the generator in closed loop: one receive and one send, or one call for both; no registration,
no allocation, no lock."""
import re
import shutil
import subprocess

import pytest
from conftest import ENGINES, LOADGEN, argv, finished, peer

ALONE = "--protocol echo --connections 1 --warmup 0 --drain 5s --timeout 20s".split()
BY_CONNECTION = 60  # calls that a connection, a phase or the host's record costs, at most

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <pthread.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static atomic_ulong allocations, locks;
void *malloc(size_t n) { allocations++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { allocations++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { allocations++; return __libc_realloc(p, n); }
int pthread_mutex_lock(pthread_mutex_t *m)
{
	static int (*real)(pthread_mutex_t *);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	locks++;
	return real(m);
}
__attribute__((destructor)) static void tell(void)
{
	fprintf(stderr, "allocations %lu locks %lu\n", allocations, locks);
}
"""


def plain() -> None:
    if b"__asan_init" in LOADGEN.read_bytes():
        pytest.skip("a sanitizer's own calls are no part of the cost")


def traced(tmp_path, engine: str, *words: str) -> tuple[dict[str, int], int]:
    """System calls of a run by name, and its requests."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    with peer() as server:
        done = subprocess.run(
            [
                "strace", "-f", "-c", "-U", "name,calls", "-o", tmp_path / "calls",
                *argv(server.target, *ALONE, *words, "--engine", engine),
            ],
            capture_output=True,
            timeout=120,
        )
        if b"ptrace" in done.stderr and not done.stdout:
            pytest.skip(f"strace cannot trace here: {done.stderr.decode().splitlines()[0]}")
        run = finished(done.stdout, done.stderr, done.returncode)
        requests = server.stop()["messages"]
    lines = re.findall(r"^(\w+) +(\d+)$", (tmp_path / "calls").read_text(), re.M)
    assert run.kept and run.doc["counts"]["ok"] == requests, run.err
    return {name: int(n) for name, n in lines if name != "total"}, requests


def test_epoll_receives_once_and_sends_once(tmp_path):
    plain()
    calls, requests = traced(tmp_path, "epoll", "--duration", "700ms")
    assert requests > 3 * BY_CONNECTION
    assert calls["epoll_ctl"] == 1
    for name in ("sendto", "recvfrom", "epoll_pwait2"):
        assert requests <= calls[name] + 1 and calls[name] <= requests + BY_CONNECTION, (name, calls, requests)
    others = sum(calls.values()) - sum(calls[name] for name in ("sendto", "recvfrom", "epoll_pwait2"))
    assert others < few_calls(tmp_path, "epoll") + BY_CONNECTION + calls.get("rt_sigtimedwait", 0)


def test_io_uring_makes_one_call(tmp_path):
    plain()
    calls, requests = traced(tmp_path, "io_uring", "--duration", "700ms")
    assert requests > 3 * BY_CONNECTION
    assert requests <= calls["io_uring_enter"] <= requests + BY_CONNECTION, (calls, requests)
    assert not {"sendto", "recvfrom", "epoll_ctl", "epoll_pwait2"} & calls.keys()
    others = sum(calls.values()) - calls["io_uring_enter"]
    assert others < few_calls(tmp_path, "io_uring") + BY_CONNECTION + calls.get("rt_sigtimedwait", 0)


def few_calls(tmp_path, engine: str) -> int:
    """What a run of hardly any request costs: start, phases, record."""
    calls, requests = traced(tmp_path, engine, "--rate", "1", "--duration", "1s")
    assert requests == 1
    return sum(calls.values())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["echo", "classes", "open"])
def test_requests_allocate_nothing_and_lock_nothing(tmp_path, engine, kind):
    plain()
    source, library = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(COUNTER)
    assert subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source]).returncode == 0
    words = {
        "echo": (), "open": ("--rate", "20k", "--arrival", "poisson"),
        "classes": ("--protocol", "frame", "--depth", "3", "--class", "a: --weight 3", "--class", "b: --reply 900"),
    }[kind]

    def cost(duration: str) -> tuple[int, int, int]:
        with peer(protocol="frame" if kind == "classes" else "echo") as server:
            # Without --json: the record has a line for each bin that is not empty, and more requests fill more of them.
            command = [
                *(
                    word
                    for word in argv(
                        server.target, *ALONE, "--connections", 20, *words, "--duration", duration, "--engine", engine
                    )
                    if word not in ("--json", "-")
                ),
                "--quiet",
            ]
            done = subprocess.run(command, capture_output=True, timeout=60, env={"LD_PRELOAD": str(library)}, text=True)
            allocations, locks = map(int, re.search(r"allocations (\d+) locks (\d+)", done.stderr).groups())
            return server.stop()["messages"], allocations, locks

    few, many = cost("1ms"), cost("900ms")
    assert many[0] > few[0] + 100
    assert many[1] <= few[1] + 10 and many[2] <= few[2] + 10, (few, many)
