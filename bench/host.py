"""Processes: the only module, with runner.py, that starts, watches and ends any.

Nothing may outlive a run, however it ends:
- every child is in a process group of its own, which is killed on each way out;
- every child asks for SIGKILL when the thread that started it dies (PR_SET_PDEATHSIG);
- an undertaker, forked before the first child, kills the groups that are left
  when the bench is gone: it is told by the end of a pipe, which even kill -9 closes,
  and so reaches grandchildren that PR_SET_PDEATHSIG does not.
"""

import ctypes
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from subprocess import DEVNULL, Popen

from bench import paths
from bench.errors import Interrupted

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
LAST_WORDS_BYTES = 2000


class Undertaker:
    """Kills the process groups it was told of when the process that made it is gone."""

    def __init__(self) -> None:
        reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.writer)
            bury(reader)
        os.close(reader)

    def tell(self, sign: str, group: int) -> None:
        os.write(self.writer, f"{sign}{group}\n".encode())

    def close(self) -> None:
        os.close(self.writer)
        os.waitpid(self.pid, 0)


def bury(reader: int) -> None:
    """The undertaker's life: collects groups until the pipe ends, kills the rest, leaves."""
    os.setsid()  # so that a terminal's Ctrl-C and hang-up pass it by
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(3, reader)
    os.closerange(reader + 1, 4096)
    told = b""
    while part := os.read(reader, 65536):
        told += part
    groups: set[int] = set()
    for line in told.decode().split():
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        kill_group(group)
    os._exit(0)


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def terminate(pid: int) -> None:
    """Asks a process to end that a child of ours has started: a server under a tracer, which would not pass it on."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def child_of(pid: int) -> int:
    """The one process that this one has started itself (proc_pid_task_children(5))."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return int(children.read().split()[0])


class Child:
    """One process with its output kept in memory, so that neither a full disk nor a full pipe disturbs it."""

    def __init__(
        self, argv: Sequence[str], cpus: Sequence[int], undertaker: Undertaker | None = None, enter: Callable[[], None] | None = None
    ):
        self.out, self.err = os.memfd_create("stdout"), os.memfd_create("stderr")
        self.undertaker = undertaker
        self.usage: resource.struct_rusage | None = None
        self.status: int | None = None
        parent, cores = os.getpid(), set(cpus)
        soft_hard = resource.getrlimit(resource.RLIMIT_NOFILE)

        def before_exec() -> None:
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before prctl
                os._exit(1)
            os.sched_setaffinity(0, cores)
            if enter:  # a network namespace
                enter()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft_hard[1], soft_hard[1]))

        try:
            self.process = Popen(
                list(argv),
                stdin=DEVNULL,
                stdout=self.out,
                stderr=self.err,
                preexec_fn=before_exec,
                process_group=0,
                env=clean_environment(),
                cwd=paths.ROOT,  # argv is relative to it
            )
        except BaseException:
            os.close(self.out)
            os.close(self.err)
            raise
        self.pid = self.process.pid
        if undertaker:
            undertaker.tell("+", self.pid)
        self.pidfd = os.pidfd_open(self.pid)

    def stdout(self) -> str:
        return read_whole(self.out)

    def stderr(self) -> str:
        return read_whole(self.err)

    def last_words(self) -> str:
        return self.stderr()[-LAST_WORDS_BYTES:].strip()

    def ended(self) -> bool:
        """Whether it has ended; takes its status and resource usage the first time."""
        if self.status is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.status, self.usage = os.waitstatus_to_exitcode(status), usage
                self.process.returncode = self.status
        return self.status is not None

    def wait(self, seconds: float) -> bool:
        """Waits for its end, at most this long; whether it has ended."""
        wait_any([self], seconds)
        return self.ended()

    def stop(self, seconds: float = 5.0) -> bool:
        """SIGTERM, and SIGKILL for what has not gone in time; whether it obeyed the first."""
        obeyed = True
        if not self.ended():
            os.kill(self.pid, signal.SIGTERM)
            obeyed = self.wait(seconds)
        kill_group(self.pid)
        while not self.ended():
            self.wait(1.0)
        return obeyed

    def close(self) -> None:
        """Ends it if it still lives, and all that it started even if it does not; lets go of what was kept."""
        kill_group(self.pid)
        while not self.ended():
            self.wait(1.0)
        if self.undertaker:
            self.undertaker.tell("-", self.pid)
        for fd in (self.out, self.err, self.pidfd):
            os.close(fd)


def clean_environment() -> dict[str, str]:
    """The same for every sample: neither locale nor the user's variables reach an arm."""
    kept = ("PATH", "HOME", "TMPDIR", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
    return {"LC_ALL": "C", **{name: os.environ[name] for name in kept if name in os.environ}}


def read_whole(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")


class Stop:
    """The wish of a signal that the run should end, noticed where it is safe.

    An exception thrown out of a signal handler can surface inside the
    interpreter's own clean-up code, which swallows it; so the handler only
    leaves a note, and waits look for it.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, how_to_go_on: str):
        self.how_to_go_on = how_to_go_on
        self.number: int | None = None
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __enter__(self) -> "Stop":
        self.before = {number: signal.signal(number, self.note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        os.close(self.fd)

    def note(self, number: int, _frame: object) -> None:
        self.number = number
        os.eventfd_write(self.fd, 1)

    def check(self) -> None:
        """Raises Interrupted once a signal has come."""
        if self.number is not None:
            name = signal.Signals(self.number).name
            raise Interrupted(f"{name}: stopped; {self.how_to_go_on}", self.number)


def wait_any(children: Sequence[Child], seconds: float, stop: Stop | None = None) -> list[Child]:
    """Waits until one of them ends, at most this long; those that have.  Raises Interrupted when told to stop."""
    poll = select.poll()
    for child in children:
        poll.register(child.pidfd, select.POLLIN)
    if stop:
        poll.register(stop.fd, select.POLLIN)
    ready = {fd for fd, _ in poll.poll(max(0, seconds) * 1000)}
    if stop:
        stop.check()
    return [child for child in children if child.pidfd in ready]


def wait_for_line(child: Child, prefix: str, seconds: float, stop: Stop | None = None) -> str | None:
    """The first line of stdout that begins so; None when the child ended or the time is over."""
    end = time.monotonic() + seconds
    while True:
        ended = child.ended()  # before looking: what it printed last still counts
        for line in child.stdout().splitlines(keepends=True):
            if line.startswith(prefix) and line.endswith("\n"):
                return line.strip()
        if ended or time.monotonic() > end:
            return None
        wait_any([child], 0.001, stop)


def reaped_faults(pid: int) -> int:
    """Page faults of the children that a process has waited for (cminflt of proc(5)): no child has none."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[8])
    except (OSError, IndexError, ValueError):
        return 0


def memory_kib(pid: int, field: str = "VmRSS") -> int | None:
    """Resident memory of a process (VmRSS, or its peak VmHWM, of /proc/PID/status); None when it cannot be read."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))
    except (OSError, StopIteration, ValueError):
        return None
