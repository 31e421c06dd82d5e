"""What an experiment needs of its host ([needs] in its file), and in words what is missing."""

import ctypes
import errno
import os
import platform
import re
import shutil
from functools import cache

from bench import env, netns
from bench.placement import cores
from bench.units import number

IO_URING_SETUP = 425


def missing(needs: dict, fd_limit: int, server_cpus: int = 1) -> str | None:
    """The first thing that this host lacks, or its server of CPUs; None when it has all."""
    for what, wanted in needs.items():
        if what == "server_cpus":
            why = None if wanted <= server_cpus else f"needs {wanted} CPUs for the server (--server-cpus), it has {server_cpus}"
        else:
            why = CHECKS[what](wanted, fd_limit)
        if why:
            return why
    return None


@cache
def no_io_uring() -> str | None:
    """io_uring_setup(2) with no place for its parameters: EFAULT where it is allowed, another error where it is not."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(IO_URING_SETUP, 1, None)
    error = ctypes.get_errno()
    return (
        None
        if error in (errno.EFAULT, errno.EINVAL)
        else f"needs io_uring, which is refused here ({os.strerror(error)})"
    )


def at_least(wanted: int, found: int | None, what: str) -> str | None:
    if found is None or found >= wanted:
        return None
    return f"needs {number(wanted)} {what}, this host has {number(found)}"


def older_kernel(wanted: str, release: str) -> str | None:
    """`6.10` is newer than `6.9`; of a release such as 6.8.0-45-generic the first two numbers count."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found or tuple(map(int, found.groups())) >= tuple(map(int, wanted.split("."))):
        return None
    return f"needs Linux {wanted}, this host has {found[0]}"


SYSTEMS = {"linux": "linux", "macos": "darwin", "windows": "windows", "solaris": "sunos"}


def other_platform(wanted: str, system: str) -> str | None:
    here = system.endswith("bsd") if wanted == "bsd" else system == SYSTEMS[wanted]
    return None if here else f"needs {wanted}, this platform is {system}"


CHECKS = {
    "fds": lambda wanted, fd_limit: at_least(wanted, fd_limit, "descriptors"),
    "cores": lambda wanted, _: at_least(wanted, len(cores(os.sched_getaffinity(0))), "physical cores"),
    "memory_mib": lambda wanted, _: at_least(wanted, env.memory_mib(), "MiB of memory"),
    "root": lambda *_: None if os.geteuid() == 0 else "needs root",
    "netns": lambda *_: netns.why_not(),
    "io_uring": lambda *_: no_io_uring(),
    "kernel": lambda wanted, _: older_kernel(wanted, platform.release()),
    "platform": lambda wanted, _: other_platform(wanted, platform.system().lower()),
    "commands": lambda wanted, _: next(
        (f"needs {name}, which is not installed" for name in wanted if not shutil.which(name)), None
    ),
}
