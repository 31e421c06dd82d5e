"""The environment of a run, as the kernel and the tools tell it; what cannot be read is null.

The fingerprint is a hash of the stable part: records of different fingerprints
are of different machines or settings, and are not to be mixed.
"""

import hashlib
import json
import os
import platform
import re
import resource
import subprocess
from pathlib import Path

from bench import paths
from bench.placement import cores
from bench.records import SCHEMA
from bench.units import format_cpus

STABLE = ("cpu", "memory_mib", "kernel", "limits", "sysctl", "compiler", "libraries", "virtual")
SYSCTLS = (
    "net.core.somaxconn",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.core.busy_poll",
    "net.core.busy_read",
    "net.core.netdev_max_backlog",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.ip_local_port_range",
    "kernel.io_uring_disabled",
    "kernel.threads-max",
    "kernel.pid_max",
    "vm.max_map_count",
)


def read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def run(*argv: str) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, cwd=paths.ROOT)
        return done.stdout.strip() if done.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired):
        return None


def field(text: str | None, pattern: str) -> str | None:
    found = re.search(pattern, text or "", re.MULTILINE)
    return found[1].strip() if found else None


def cpu() -> dict:
    info = read("/proc/cpuinfo")
    allowed = os.sched_getaffinity(0)
    mitigations = Path("/sys/devices/system/cpu/vulnerabilities")
    return {
        "model": field(info, r"^model name\s*:\s*(.*)$") or platform.machine(),
        "family_model_stepping": [field(info, rf"^{k}\s*:\s*(.*)$") for k in ("cpu family", "model", "stepping")],
        "microcode": field(info, r"^microcode\s*:\s*(.*)$"),
        "online": read("/sys/devices/system/cpu/online"),
        "allowed": format_cpus(allowed),
        "cores": [format_cpus(core) for core in cores(allowed)],
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "boost": read("/sys/devices/system/cpu/cpufreq/boost"),
        "idle_driver": read("/sys/devices/system/cpu/cpuidle/current_driver"),
        "mitigations": {p.name: read(str(p)) for p in sorted(mitigations.iterdir())} if mitigations.is_dir() else None,
    }


# Kernel parameters that bear on timing.  The rest of a command line names disks, consoles and
# sometimes secrets, and records are meant to be passed on.
TELLING = re.compile(
    r"^(mitigations|nosmt|maxcpus|isolcpus|nohz|nohz_full|rcu_nocbs|rcupdate|idle|processor|intel_|amd_|cpuidle|cpufreq"
    r"|transparent_hugepage|preempt|threadirqs|clocksource|tsc|hpet|audit|selinux|apparmor|psi|irqaffinity"
    r"|skew_tick|noht|pti|spectre|nopti|numa)"
)


def telling_parameters(cmdline: str | None) -> list[str] | None:
    """The kernel's own parameters (those before `--`) that TELLING names."""
    if cmdline is None:
        return None
    return [word for word in cmdline.partition(" -- ")[0].split() if TELLING.match(word)]


def kernel() -> dict:
    return {
        "release": platform.release(),
        "version": platform.version(),
        "cmdline": telling_parameters(read("/proc/cmdline")),
        "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "preempt": field(read("/sys/kernel/debug/sched/preempt"), r"\((\w+)\)"),
        "hz_user": os.sysconf("SC_CLK_TCK"),
        "transparent_hugepages": field(read("/sys/kernel/mm/transparent_hugepage/enabled"), r"\[(\w+)\]"),
    }


def virtual() -> dict:
    info = read("/proc/cpuinfo") or ""
    return {
        "hypervisor_flag": bool(re.search(r"\bhypervisor\b", info)) if info else None,
        "hypervisor": run("systemd-detect-virt", "--vm") or read("/sys/hypervisor/type"),
        "product": read("/sys/class/dmi/id/product_name"),
        "container": "docker" if Path("/.dockerenv").exists() else run("systemd-detect-virt", "--container"),
        "seccomp": field(read("/proc/self/status"), r"^Seccomp:\s*(\d+)"),
        "cgroup_cpu_max": read("/sys/fs/cgroup/cpu.max"),
    }


def limits() -> dict:
    names = {
        "nofile": resource.RLIMIT_NOFILE,
        "nproc": resource.RLIMIT_NPROC,
        "memlock": resource.RLIMIT_MEMLOCK,
        "stack": resource.RLIMIT_STACK,
    }
    return {
        name: [None if v == resource.RLIM_INFINITY else v for v in resource.getrlimit(which)]
        for name, which in names.items()
    }


def sysctls() -> dict:
    return {
        name: " ".join(value.split()) if (value := read("/proc/sys/" + name.replace(".", "/"))) is not None else None
        for name in SYSCTLS
    }


def libraries() -> dict:
    import matplotlib
    import numpy
    import scipy

    return {
        "libc": run("getconf", "GNU_LIBC_VERSION"),
        "liburing": run("pkg-config", "--modversion", "liburing"),
        "jansson": run("pkg-config", "--modversion", "jansson"),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "matplotlib": matplotlib.__version__,
    }


def compiler() -> dict:
    name = os.environ.get("CC", "cc")
    version = (run(name, "--version") or "").partition("\n")[0]
    return {"command": name, "version": version or None, "flags": run("make", "-s", "print-flags")}


def git() -> dict:
    revision = run("git", "rev-parse", "HEAD")
    status = run("git", "status", "--porcelain", "--untracked-files=no") if revision else None
    return {
        "revision": revision,
        "dirty": bool(status) if status is not None else None,
        "describe": run("git", "describe", "--always", "--dirty", "--tags"),
    }


def memory_mib() -> int | None:
    total_kib = field(read("/proc/meminfo"), r"^MemTotal:\s*(\d+)")
    return int(total_kib) // 1024 if total_kib else None


def moment() -> dict:
    """What may change from minute to minute; outside the fingerprint."""
    return {
        "load_average": read("/proc/loadavg"),
        "pressure_cpu": read("/proc/pressure/cpu"),
        "uptime": read("/proc/uptime"),
        "steal": steal(),
    }


def steal() -> int | None:
    """Ticks that the hypervisor took from this machine since boot (/proc/stat, field 8)."""
    stat = field(read("/proc/stat"), r"^cpu\s+(.*)$")
    values = stat.split() if stat else []
    return int(values[7]) if len(values) > 7 else None


def collect() -> dict:
    """Everything, with the fingerprint of the stable part."""
    found = {
        "schema": SCHEMA,
        "cpu": cpu(),
        "memory_mib": memory_mib(),
        "kernel": kernel(),
        "virtual": virtual(),
        "limits": limits(),
        "sysctl": sysctls(),
        "compiler": compiler(),
        "libraries": libraries(),
        "git": git(),
        "moment": moment(),
    }
    return {**found, "fingerprint": fingerprint(found)}


def fingerprint(found: dict) -> str:
    stable = json.dumps({key: found[key] for key in STABLE}, sort_keys=True).encode()
    return hashlib.sha256(stable).hexdigest()[:12]


def footer(found: dict) -> str:
    """The environment in one line, for figures."""
    where = found["virtual"]["hypervisor"] or ("virtual machine" if found["virtual"]["hypervisor_flag"] else None)
    built_by = found["compiler"]["version"] or ""
    parts = [
        f"{found['cpu']['model']}, {len(found['cpu']['cores'])} cores" + (
            f" ({where})" if where and where != "none" else ""
        ),
        f"Linux {found['kernel']['release']}",
        " ".join(filter(None, (found["compiler"]["command"], field(built_by, r"(\d+\.\d+\.\d+)")))),
        f"muxbench {found['git']['describe'] or 'unversioned'}",
        f"host {found['fingerprint']}",
    ]
    return "  ·  ".join(parts)
