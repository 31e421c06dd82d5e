"""System calls per request: what strace counts is what each page says, call by call."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, House

from bench import anatomy, arms, lockstep, pages, traced
from bench.errors import BenchError
from bench.serve import Unavailable
from plots import anatomy as drawing

BUILT = arms.model_names()
CPUS = sorted(os.sched_getaffinity(0))
REQUESTS = 20


def page(tmp_path: Path, line: str, before: str = "") -> pages.Page:
    (tmp_path / "mine.c").write_text(
        f"/* mine: a page.\n *\n * How it waits.\n *\n{before} * {line}\n"
        " * Needs nothing; pkg-config: libone libtwo\n */\n"
        'static const struct model model = {\n\t.name = "mine",\n'
        '\t.thesis = "One sentence, "\n\t\t  "in two parts.",\n};\n'
    )
    return pages.read("mine", tmp_path)


def test_a_page_is_read_without_being_built(tmp_path: Path) -> None:
    found = page(tmp_path, "Per request, one connection at a time: recv, send.")
    assert found.thesis == "One sentence, in two parts."
    assert found.libraries == ("libone", "libtwo")
    assert found.calls == pages.Calls({"recvfrom": 1, "sendto": 1}, frozenset())


def test_a_library_that_is_not_here_is_named(tmp_path: Path) -> None:
    """Found by pkg-config, or by the linker alone."""
    found = page(tmp_path, "Per request, one connection at a time: recv, send.\n * libraries: c nosuch")
    assert found.libraries == ("libone", "libtwo", "-lc", "-lnosuch")
    assert pages.missing_libraries(found) == ["libone", "libtwo", "-lnosuch"]


def test_a_page_with_a_half_in_the_kernel_needs_clang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLANG", "no-such-clang")
    lacking = {name: "no-such-clang" in pages.missing_libraries(pages.read(name)) for name in pages.names()}
    assert (
        {name for name, lacks in lacking.items() if lacks}
        == {path.stem for path in pages.PAGES.glob("bpf/*.c")}
        != set()
    )


@pytest.mark.parametrize(
    "line, exact, open_ended",
    [
        ("epoll_pwait2, recv, send.", {"epoll_pwait2": 1, "recvfrom": 1, "sendto": 1}, set()),
        ("io_uring_enter twice (why. too), close. More text, here.", {"io_uring_enter": 2, "close": 1}, set()),
        ("none.", {}, set()),
        ("read thrice, read and write 11 times.", {"read": 4, "write": 11}, set()),
        ("none.", {}, set()),
        ("recv... (as often as\n * it finds nothing), send.", {"sendto": 1}, {"recvfrom"}),
    ],
)
def test_the_line_on_system_calls_is_parsed(tmp_path: Path, line: str, exact: dict, open_ended: set) -> None:
    assert page(tmp_path, f"Per request, one connection at a time: {line}").calls == pages.Calls(
        exact, frozenset(open_ended)
    )


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("Per request: recv, send.", "no such line"),
        ("Per request, one connection at a time: a futex to wake a worker, recv.", "'a futex to wake a worker' is not"),
    ],
)
def test_a_line_of_another_form_is_refused_with_its_page(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(BenchError, match=f"servers/mine.c.*{complaint}"):
        page(tmp_path, line).calls


def lockstep_of(model: str, case: lockstep.Case) -> dict:
    if why := lockstep.why_impossible():
        pytest.skip(why)
    if model not in BUILT:
        lacks = " ".join(pages.missing_libraries(pages.read(model)))
        pytest.skip(f"{model} is not built" + (f": pkg-config finds no {lacks}" if lacks else " (make)"))
    arm = arms.models([model])[0]
    if case.protocol not in arm.protocols:
        pytest.skip(f"{model} does not speak {case.protocol}")
    try:
        return lockstep.count(arm, case, REQUESTS, CPUS)
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.mark.parametrize("case", [c for c in lockstep.CASES if c.name in ("echo", "http")], ids=lambda c: c.name)
@pytest.mark.parametrize("model", pages.names())
def test_each_page_says_what_strace_counts(model: str, case: lockstep.Case) -> None:
    """Named calls exactly as often; calls with dots, which a request may do without, at all; none that is not named."""
    said = pages.read(model).calls
    counted = lockstep_of(model, case)
    assert {name: n for name, n in counted["calls"].items() if name not in said.open_ended} == said.exact
    assert said.open_ended <= set(counted["totals"][1])


def test_a_difference_would_be_seen() -> None:
    """The pages' counts are not all alike, and a request on a connection of its own costs more."""
    kept, fresh = (
        lockstep_of("epoll_lt", case)["calls"] for case in lockstep.CASES if case.name in ("echo", "connection")
    )
    assert kept == {"epoll_pwait2": 1, "recvfrom": 1, "sendto": 1}
    assert fresh["close"] == 1 and fresh["epoll_ctl"] == 1 and sum(fresh.values()) > sum(kept.values())


def test_a_server_that_never_sleeps_is_not_waited_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "NEVER_QUIET_S", 0.05)
    watch = lockstep.Quiet(lambda: [os.getpid()])  # this process looks, so it runs
    watch.wait()
    assert watch.restless


def test_http_replies_are_awaited_whole() -> None:
    get = next(case for case in lockstep.CASES if case.name == "http")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
    assert not lockstep.is_whole(head + b"ab", get) and lockstep.is_whole(head + b"abc", get)


def test_a_lost_server_is_an_error_and_no_endless_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = lockstep.Connection(f"127.0.0.1:{listener.getsockname()[1]}")
        listener.accept()[0].close()
        with pytest.raises((BenchError, ConnectionError)):
            client.ask(lockstep.CASES[0])


# --- records, tables, figure ------------------------------------------------------------------------------------------


def records_of(**models: dict) -> list[dict]:
    found = [{"schema": 1, "kind": "run", "run": "a-run", "requests": 10, "environment": "a host"}]
    for model, told in models.items():
        found.append(
            {"schema": 1, "kind": "model", "model": model, "protocols": ["echo"], "clients_at_once": None, "needs": []}
        )
        found.append({"schema": 1, "kind": "lockstep", "model": model, "case": "echo", "calls": told["calls"]})
        found.append(
            {"schema": 1, "kind": "tracepoints", "model": model, "valid": told["valid"], "calls": told["calls"]}
        )
    return found


def test_an_invalid_load_is_neither_drawn_nor_told(tmp_path: Path) -> None:
    found = records_of(
        poll={"calls": {"ppoll": 1.0}, "valid": False}, epoll_lt={"calls": {"recvfrom": 0.5}, "valid": True}
    )
    (tmp_path / anatomy.FILE).write_text("".join(json.dumps(record) + "\n" for record in found))
    anatomy.derive(tmp_path)
    shown = json.loads((tmp_path / "derived" / "anatomy.json").read_text())
    assert list(shown["models"]) == ["poll", "epoll_lt"], "in the readers' order"
    assert shown["models"]["poll"] == {"lockstep": {"ppoll": 1.0}, "load": None}
    assert shown["models"]["epoll_lt"]["load"] == {"recvfrom": 0.5}


@pytest.mark.parametrize(
    "calls, said",
    [
        ({"sendto": 1.0, "recvfrom": 1.0}, "recvfrom, sendto"),
        ({"futex": 3.0, "sendto": 1.0001}, "futex × 3, sendto"),
        ({"accept4": 0.003, "epoll_wait": 0.0512}, "epoll_wait × 0.05"),
        ({}, "none"),
    ],
)
def test_calls_are_told_in_words(calls: dict, said: str) -> None:
    assert anatomy.calls_text({"calls": calls}) == said


def test_the_figure_names_every_model_and_no_texts_leave_the_page() -> None:
    many = {f"call_{i}": 2.0 for i in range(8)}
    models = {name: {"lockstep": {"epoll_pwait2": 1.0, "recvfrom": 1.0}, "load": None} for name in arms.ORDER}
    models["posix_aio"] = {"lockstep": many, "load": {"sendto": 0.3}}
    figure = drawing.draw({"models": models, "environment": "a host", "run": "a-run"})
    figure.canvas.draw()
    page = figure.bbox
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == list(arms.ORDER)
    for text in figure.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1, text.get_text()
    assert any(
        "16 →" in text.get_text() for text in figure.axes[0].texts
    ), "a bar that leaves the panel says its length"


def test_perfs_counts_are_read_by_name() -> None:
    counted = ["51,,syscalls:sys_enter_accept4", "0,,syscalls:sys_enter_futex", "99,,raw_syscalls:sys_enter"]
    text = "# started on\n\n" + "".join(f"{line},1,100.00,,\n" for line in counted)
    assert traced.counts_of(text) == {"accept4": 51, "futex": 0, "raw_syscalls:sys_enter": 99}


def test_a_wrong_pass_or_model_is_refused_with_the_nearest(house: House) -> None:
    house.servers("epoll_lt")
    done = house.bench("anatomy", "epoll_lt", "--only", "lockstp")
    assert done.returncode == 2 and "no pass 'lockstp' (did you mean lockstep?)" in done.stderr
    done = house.bench("anatomy", "epol_lt")
    assert done.returncode == 2 and "did you mean epoll_lt" in done.stderr


def test_the_command_leaves_records_and_a_table(tmp_path: Path) -> None:
    if "epoll_lt" not in BUILT or lockstep.why_impossible():
        pytest.skip("epoll_lt is not built, or strace is not here")
    command = [sys.executable, "-m", "bench", "anatomy", "epoll_lt", "--only", "lockstep", "--requests", "5"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "MUXBENCH_LOCK": str(tmp_path)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoll_pwait2, recvfrom, sendto" in done.stdout
    found = anatomy.read(next(tmp_path.iterdir()))
    assert [record["case"] for record in found if record["kind"] == "lockstep"] == [
        case.name for case in lockstep.CASES
    ]
    assert found[0]["kind"] == "run" and all(record["schema"] == 1 for record in found)
