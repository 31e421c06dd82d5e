"""Telemetry: counters of a made-up /proc are read right, what is missing is null, and the real one adds up."""

import socket
from pathlib import Path

from bench import telemetry

STAT = "cpu  1 2 3 4 5 6 7 88 0 0\nctxt 1000\nprocesses 50\nsoftirq 900 1 2 3 444 5\n"
NETSTAT = "TcpExt: ListenOverflows ListenDrops TCPTimeouts\nTcpExt: 7 8 9\nIpExt: A\nIpExt: 1\n"
SNMP = "Tcp: RetransSegs OutRsts EstabResets\nTcp: 3 2 1\n"


def fake_proc(folder: Path) -> Path:
    (folder / "net").mkdir()
    (folder / "pressure").mkdir()
    (folder / "stat").write_text(STAT)
    (folder / "net" / "netstat").write_text(NETSTAT)
    (folder / "net" / "snmp").write_text(SNMP)
    (folder / "pressure" / "cpu").write_text(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    )
    return folder


def test_reads_what_is_there_and_null_for_the_rest(tmp_path: Path) -> None:
    assert telemetry.snapshot(fake_proc(tmp_path)) == {
        "listen_overflows": 7,
        "listen_drops": 8,
        "tcp_timeouts": 9,
        "retransmits": 3,
        "resets_sent": 2,
        "resets_received": 1,
        "netstat": {
            "RetransSegs": 3, "OutRsts": 2, "EstabResets": 1, "ListenOverflows": 7, "ListenDrops": 8, "TCPTimeouts": 9
        },
        "context_switches": 1000,
        "forks": 50,
        "softirqs": 900,
        "softirqs_net_tx": 3,
        "softirqs_net_rx": 444,
        "steal_ticks": 88,
        "pressure_cpu_us": 1234,
        "pressure_memory_us": None,
        "pressure_io_us": None,
    }


def test_an_empty_proc_is_all_null(tmp_path: Path) -> None:
    assert set(telemetry.snapshot(tmp_path).values()) == {None}


def test_between_is_the_difference_and_keeps_null() -> None:
    assert telemetry.between({"a": 1, "b": None, "c": 5}, {"a": 4, "b": 2, "c": None}) == {"a": 3, "b": None, "c": None}


def test_between_keeps_of_the_kernels_own_names_what_moved() -> None:
    before, after = {"netstat": {"OutRsts": 2, "ListenDrops": 8}}, {"netstat": {"OutRsts": 2, "ListenDrops": 9, "New": 4}}
    assert telemetry.between(before, after) == {"netstat": {"ListenDrops": 1}}


def test_a_full_backlog_is_counted_on_this_host() -> None:
    before = telemetry.snapshot()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            clients.append(client)
        found = telemetry.between(before, telemetry.snapshot())
        for client in clients:
            client.close()
    assert found["listen_overflows"] is None or found["listen_overflows"] >= 1
