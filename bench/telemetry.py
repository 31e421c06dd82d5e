"""What the host counted while the load generator ran: whole-host counters, read before it starts and after it ends.

These explain a sample, they do not judge it: the figures that are compared
come from clocks read at the edges of the window (docs/method.md).
"""

from pathlib import Path

# name in the record: (file, section or line, name there)
NETWORK = {
    "listen_overflows": ("netstat", "TcpExt", "ListenOverflows"),
    "listen_drops": ("netstat", "TcpExt", "ListenDrops"),
    "tcp_timeouts": ("netstat", "TcpExt", "TCPTimeouts"),
    "retransmits": ("snmp", "Tcp", "RetransSegs"),
    "resets_sent": ("snmp", "Tcp", "OutRsts"),
    "resets_received": ("snmp", "Tcp", "EstabResets"),
}


def tables(text: str) -> dict[str, dict[str, int]]:
    """/proc/net/snmp and netstat: pairs of lines, names and values, led by the section's name."""
    lines = [line.split() for line in text.splitlines() if line]
    return {
        names[0].rstrip(":"): dict(zip(names[1:], map(int, values[1:])))
        for names, values in zip(lines[::2], lines[1::2])
    }


def of_network(proc: Path) -> dict[str, int | dict[str, int] | None]:
    """The counters of NETWORK by our names, and all of TCP's by the kernel's own."""
    found = {}
    for file in ("netstat", "snmp"):
        try:
            found[file] = tables((proc / "net" / file).read_text())
        except (OSError, ValueError):
            found[file] = {}
    named = {name: found[file].get(section, {}).get(key) for name, (file, section, key) in NETWORK.items()}
    whole = {**found["snmp"].get("Tcp", {}), **found["netstat"].get("TcpExt", {})}
    return {**named, "netstat": whole or None}


def pressure_us(proc: Path, resource: str) -> int | None:
    """Microseconds in which some task waited for a resource (PSI, `some ... total=`)."""
    try:
        first = (proc / "pressure" / resource).read_text().splitlines()[0]
        return int(first.rsplit("total=", 1)[1])
    except (OSError, IndexError, ValueError):
        return None


def scheduling(proc: Path) -> dict[str, int | None]:
    """Context switches, forks and soft interrupts of the whole host, from /proc/stat."""
    try:
        lines = {
            words[0]: words[1:]
            for words in (line.split() for line in (proc / "stat").read_text().splitlines())
            if words
        }
    except OSError:
        lines = {}
    soft = [int(word) for word in lines.get("softirq", [])]
    return {
        "context_switches": int(lines["ctxt"][0]) if "ctxt" in lines else None,
        "forks": int(lines["processes"][0]) if "processes" in lines else None,
        "softirqs": soft[0] if soft else None,
        "softirqs_net_tx": soft[3] if len(soft) > 3 else None,
        "softirqs_net_rx": soft[4] if len(soft) > 4 else None,
        "steal_ticks": int(lines["cpu"][7]) if len(lines.get("cpu", [])) > 7 else None,
    }


def snapshot(proc: Path = Path("/proc"), network: Path | None = None) -> dict[str, int | dict[str, int] | None]:
    """All counters now; those of the network from /proc/PID of a process in the namespace that is meant."""
    return {
        **of_network(network or proc),
        **scheduling(proc),
        "pressure_cpu_us": pressure_us(proc, "cpu"),
        "pressure_memory_us": pressure_us(proc, "memory"),
        "pressure_io_us": pressure_us(proc, "io"),
    }


def between(before: dict, after: dict) -> dict:
    """What was added in between; null where either side could not be read, and in `netstat` what moved only."""
    return {name: added(value, after[name]) for name, value in before.items()}


def added(before: int | dict[str, int] | None, after: int | dict[str, int] | None) -> int | dict[str, int] | None:
    if before is None or after is None:
        return None
    if isinstance(before, dict):
        return {name: moved for name, value in before.items() if (moved := after.get(name, value) - value)}
    return after - before
