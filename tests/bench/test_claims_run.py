"""Claims runs from end to end: shared cells are planned once, a killed run is resumed, verdicts come from the folder.

Against fakes where processes are the matter, against the real build where probes, arrivals and counts have to be real.
"""

import io
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT, House, install
from rich.console import Console
from test_claims_file import ARRIVALS, COUNT, MEASURED, PAGE, PROBE, example
from test_runner import outcomes, plan_ids, processes_of, wait_until

from bench import arms, aside, checked, claims_arrivals, claims_draft, claims_file, claims_names, claims_plan
from bench import claims_run, cli, needs, paths, plan, records
from bench.claims_data import Data
from bench.errors import UsageError

BUILT = paths.build_dir()
REAL = pytest.mark.skipif(
    not all((BUILT / name).exists() for name in ("loadgen", "servers/blocking", "servers/epoll_lt", "lab/epoll")),
    reason="servers or load generator are not built (make)",
)
QUICK = '[experiment.profiles.quick]\nblocks = 2\nwarmup = "1ms"\nduration = "5ms"\n[[parts]]'
EASY = MEASURED.replace('"io_uring"', '"poll"').replace("[[parts]]", QUICK, 1)
SAID = PROBE.replace("X01", "X02").replace("fork.parent_offset", "offset").replace("[[parts]]", "runs = 4\n[[parts]]")
PROBE_PAGE = """#!/usr/bin/env python3
import json, os, sys
if os.path.exists("{folder}/refuse"):
    sys.stderr.write("this kernel has no offsets\\n")
    sys.exit(77)
print(json.dumps({{"probe": "shared_offset", "facts": {{"offset": 8, "of": sys.argv[1:]}}}}))
"""


@pytest.fixture
def claims(house: House) -> House:
    """The house with two claims, the fakes that they need, and a probe."""
    house.servers("epoll_lt", "poll", "forker")
    (house.build / "probes").mkdir()
    script = house.folder / "probe.py"
    script.write_text(PROBE_PAGE.format(folder=house.folder))
    install(script, house.build / "probes" / "shared_offset")
    (house.folder / "x01-lead.toml").write_text(EASY)
    (house.folder / "x02-offset.toml").write_text(SAID)
    return house


FILES = ("x01-lead.toml", "x02-offset.toml")


def test_a_run_of_claims_ends_in_records_and_a_ledger_and_the_folder_is_enough_to_redo_it(claims: House) -> None:
    done = claims.bench("claim", "run", *FILES, "--no-figures")
    assert done.returncode == 0, done.stderr + done.stdout
    folder = claims.run_folder()
    found = outcomes(folder)
    assert sorted(found) == sorted(plan_ids(folder))
    for record in found.values():
        jsonschema.validate(record, checked.schema("sample"))
    assert {r["role"] for r in found.values()} == {"arm", "probe"}
    assert [r["probe"]["facts"]["offset"] for r in found.values() if r["role"] == "probe"] == [8] * 4
    told = json.loads((folder / "plan.json").read_text())["claims"]
    assert told["X01"]["text"] == EASY and len(told["X01"]["sha256"]) == 64
    assert set(told["X01"]["samples"]) | set(told["X02"]["samples"]) == set(found)
    assert "X01" in done.stdout and "X02" in done.stdout and "reproduced" in done.stdout
    for name in FILES:
        (claims.folder / name).unlink()  # from here on the folder alone has to do
    data = Data(folder)
    assert [claim.id for claim in data.claims] == ["X01", "X02"]
    lead = data.claims[0]
    cell = {"connections": 300}
    assert sorted(data.values(lead, "poll", "server_cpu_us_per_req", cell)) == [0, 1]
    assert data.why(lead, "poll", cell) == []
    assert data.probe(data.claims[1]) == [{"offset": 8, "of": []}] * 4


def test_kill_9_leaves_no_process_and_resume_completes_exactly_the_plan(claims: House) -> None:
    slow = EASY.replace('"5ms"', '"60ms"').replace("blocks = 2", "blocks = 4").replace('"poll"', '"forker"')
    variants = 'arms.models = ["epoll_lt"]\narms.variants = [{ name = "forker", model = "forker", options = {} }]'
    slow = re.sub(r"arms.models = .*", variants, slow)
    (claims.folder / FILES[0]).write_text(slow)
    running = claims.start("claim", "run", *FILES, "--no-figures")
    assert wait_until(lambda: claims.results.is_dir() and len(outcomes(claims.run_folder())) >= 3)
    running.kill()
    running.communicate()
    assert wait_until(lambda: processes_of(claims) == []), processes_of(claims)
    folder = claims.run_folder()
    before = (folder / "samples.jsonl").read_bytes()
    assert 3 <= len(outcomes(folder)) < len(plan_ids(folder))
    (claims.folder / FILES[0]).unlink()  # the plan has all that is needed
    done = claims.bench("resume", "--no-figures")
    assert done.returncode == 0, done.stderr
    found = records.read_samples(folder)
    assert sorted(r["id"] for r in found) == sorted(plan_ids(folder)), "each id exactly once"
    assert (folder / "samples.jsonl").read_bytes().startswith(before), "raw records are never rewritten"
    assert "X01" in done.stdout, "the ledger at the end"


def test_what_is_not_here_is_no_failure_of_the_run(claims: House) -> None:
    (claims.folder / "refuse").touch()
    (claims.folder / "x03-bsd.toml").write_text(SAID.replace("X02", "X03") + '[needs]\nplatform = "bsd"\n')
    missing = EASY.replace("X01", "X04").replace('"poll"', '"io_uring"')
    (claims.folder / "x04-unbuilt.toml").write_text(missing)
    done = claims.bench("claim", "run", *FILES, "x03-bsd.toml", "x04-unbuilt.toml", "--no-figures")
    assert done.returncode == 0, done.stderr + done.stdout
    data = Data(claims.run_folder())
    byname = {claim.id: claim for claim in data.claims}
    absent = data.missing(byname["X03"])
    assert absent.code == "platform" and "bsd" in absent.text
    assert [why.code for why in data.why(byname["X04"], "io_uring", {"connections": 300})] == ["missing"]
    probes = [record for record in outcomes(claims.run_folder()).values() if record["role"] == "probe"]
    assert {record["why"] for record in probes} == {"this kernel has no offsets"}
    assert "not testable here" in done.stdout


def test_a_wrong_claim_is_refused_in_one_line_and_nothing_is_written(claims: House) -> None:
    (claims.folder / "x05-wrong.toml").write_text(EASY.replace("X01", "X05").replace("throughput_rps", "speed"))
    done = claims.bench("claim", "run", FILES[0], "x05-wrong.toml")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "x05-wrong.toml: parts.direction.metric: unknown metric 'speed'" in done.stderr
    assert not claims.results.exists()


def test_usage_errors_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x05-wrong.toml").write_text(EASY.replace("X01", "X05").replace("throughput_rps", "speed"))
    for words, message in {
        ("run", "P4000"): r"no claim 'P4000'",
        ("run", "P40", "--blocks", "0"): "--blocks: expected 1 or more",
        ("show", "--results", "nowhere"): "no runs of claims in nowhere yet",
    }.items():
        with pytest.raises(UsageError, match=message):
            called("claim", *words)
    with pytest.raises(UsageError) as raised:
        called("claim", "check", "x05-wrong.toml", "x06-none.toml")
    lines = str(raised.value).splitlines()
    assert len(lines) == 2 and "unknown metric 'speed'" in lines[0] and "no such claim file" in lines[1]


def called(*words: str) -> int:
    options = cli.parser().parse_args(list(words))
    return options.function(options, Console(file=io.StringIO()))


def test_a_dry_run_tells_the_time_and_writes_nothing(claims: House) -> None:
    done = claims.bench("claim", "run", *FILES, "--dry-run")
    assert done.returncode == 0 and re.search(r"claims \(quick\): 12 samples, about \d+ s", done.stdout), done.stdout
    assert "2 claims" in done.stdout and "probes: 4 samples" in done.stdout
    assert not claims.results.exists()


# --- plans ----------------------------------------------------------------------------------------------------------


def arm(name: str, kind: str = "model") -> arms.Arm:
    every = {"protocols": ("echo", "greet", "http", "frame"), "options": claims_names.EVERY_SERVER}
    return arms.Arm(name, (name,), "0", "README.md", kind=kind, **every)


def everything_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_draft.contenders, "find", arm)
    monkeypatch.setattr(claims_draft.prepare, "variant", lambda told: arm(told["name"], "variant"))
    monkeypatch.setattr(claims_draft, "probe_path", lambda name: ROOT / "README.md")


def planned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *texts: str, profile: str = "quick", blocks: int | None = None
) -> plan.Plan:
    """The plan of these claims, all arms of which are there."""
    everything_is_here(monkeypatch)
    loaded = []
    for text in texts:
        path = folder / f"{re.search('id = .([A-Z0-9]+)', text)[1].lower()}.toml"
        path.write_text(text)
        loaded.append(claims_file.load(path))
    return claims_plan.make(loaded, profile, 1, 20_000, blocks, lambda wanted: needs.missing(wanted, 20_000))


def test_only_cells_and_arms_that_parts_name_are_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MEASURED.split("[[parts]]")
    made = planned(tmp_path, monkeypatch, text[0] + "[[parts]]" + text[1].replace("arm = ", "arm = "), blocks=2)
    assert {(s.cell, s.arm) for s in made.samples} == {("connections=300", "io_uring"), ("connections=300", "epoll_lt")}
    assert len(made.samples) == 4


def test_a_cell_that_two_claims_read_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = re.sub(r"\[experiment\].*?(?=\[\[)", "", MEASURED, flags=re.S).split("[verdict]")[0]
    shared = shared.replace("[source]", 'experiment = "connections"\n[source]').replace("[0.5, 1]", "[0.5, 2]")
    shared = re.sub(r"at = .*", "at = { connections = 100 }", shared)
    other = shared.replace("X01", "X02").replace('over = "epoll_lt"', 'over = "poll"')
    made = planned(tmp_path, monkeypatch, shared, other, blocks=3)
    ids = [sample.id for sample in made.samples]
    assert len(set(ids)) == len(ids)
    at_100 = [s for s in made.samples if s.cell == "connections=100" and s.block == 0]
    assert sorted(s.arm for s in at_100) == ["epoll_lt", "io_uring", "poll"]
    positions = [ids.index(s.id) for s in at_100]
    assert max(positions) - min(positions) == 2, "all arms of a block back to back"
    assert set(made.claims["X01"]["samples"]) & set(made.claims["X02"]["samples"])


def test_probes_are_shared_by_their_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = SAID.replace("X02", "X03").replace("runs = 4", "runs = 6")
    other = SAID.replace("X02", "X04").replace("runs = 4", 'arguments = ["--long"]')
    made = planned(tmp_path, monkeypatch, SAID, more, other)
    assert len(made.samples) == 6 + claims_draft.RUNS["probe"]["quick"]
    assert len(made.claims["X02"]["samples"]) == len(made.claims["X03"]["samples"]) == 6


def test_a_probe_says_on_its_page_how_long_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"slow": "/* slow: waits.\n * Takes about 2.5 s.\n */\n", "soon": "/* soon: looks. */\n// Takes about 9 s."}
    monkeypatch.setattr(claims_draft.paths, "PROBES", tmp_path)
    for name, text in pages.items():
        (tmp_path / f"{name}.c").write_text(text)
    assert claims_draft.probe_s("slow") == 2.5 + claims_draft.PROBE_S
    assert claims_draft.probe_s("soon") == claims_draft.PROBE_S


def test_a_variant_means_something_in_its_own_claim_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(tmp_path, monkeypatch, COUNT, COUNT.replace("X01", "X02").replace('"toggled" }', '"oneshot" }'))
    assert {"x01:toggled", "x02:toggled"} <= set(made.arms)


def test_max_is_a_number_of_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = MEASURED.replace("grid.connections = [1, 50, 300]", 'grid.idle = [0, 100, "max"]')
    crowd = crowd.replace("load = { protocol", "load = { connections = 1, protocol")
    crowd = crowd.replace('along = "connections"', 'along = "idle"')
    crowd = crowd.replace("{ connections = 300 }", '{ idle = "max" }')
    made = planned(tmp_path, monkeypatch, crowd)
    most = {s.options["idle"] for s in made.samples} - {0, 100}
    assert len(most) == 1 and 15_000 <= most.pop() < 20_000
    assert all(part["at"].get("idle") != "max" for part in made.claims["X01"]["claim"]["parts"])


def test_full_has_blocks_enough_for_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(tmp_path, monkeypatch, MEASURED, ARRIVALS.replace("X01", "X02"), profile="full")
    assert all(told["runs"] >= 12 for told in made.claims.values())


def test_all_claims_fit_into_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the plan's own estimate, which a run keeps to."""
    everything_is_here(monkeypatch)
    claims = claims_file.load_all()
    for profile, most_s in claims_run.WITHIN_S.items():
        made = claims_plan.make(claims, profile, 1, 20_000, None, lambda wanted: None)
        assert made.expected_s + claims_run.LEDGER_S < most_s, profile


def played(
    count: int, sent: list[float], answered: list[float], all_read: float | None, unread: float | None
) -> bool | None:
    """A run of arrivals as it would have ended; times in units of the service's."""
    run = claims_arrivals.Run.__new__(claims_arrivals.Run)
    run.wish = claims_arrivals.Wish(count, 0, 1.0, "greet")
    ns = lambda moment: None if moment is None else round(moment * 1e9)
    run.sent_ns, run.answered_ns = list(map(ns, sent)), dict(enumerate(map(ns, answered)))
    run.all_read_ns, run.unread_ns = ns(all_read), ns(unread)
    return run.interleaved()


def test_whether_requests_interleave_is_told_by_looks_in_time_only() -> None:
    assert played(1, [0], [1], 0.1, None) is None, "of one client it cannot be asked"
    assert played(2, [0, 0], [1, 1], 0.1, 0.05) is True
    assert played(2, [0, 0], [1, 2], None, 0.9) is False, "the last look before the first reply"
    assert played(3, [0, 0, 0], [1, 2, 3], None, 1.01) is False, "the look right after it"
    assert played(2, [0, 0], [1, 2], None, 0.5) is None, "it may have been read since"
    assert played(2, [0, 0], [1, 1], None, None) is None, "the client had no turn"
    assert played(2, [0, 1.5], [1, 2.5], None, None) is False, "the last request came after the first reply"


def test_a_cell_is_looked_at_if_a_part_asks_whether_its_requests_interleave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = '[[parts]]\nname = "together"\nstatistic = "interleaving"\narm = "blocking"\nat = {count = 2}\n'
    text = ARRIVALS.replace("[1, 3]", "[2, 3]") + together + "region = {equals = 0}\n"
    made = planned(tmp_path, monkeypatch, text)
    assert {(s.options["count"], aside.wish_of(s.options).looks) for s in made.samples} == {(2, True), (3, False)}
    old = {key: value for key, value in made.samples[0].options.items() if key != "looks"}
    assert aside.wish_of(old).looks, "a plan from before there was a choice"


@pytest.mark.parametrize("looks", [True, False])
def test_nobody_looks_where_times_only_are_asked_for(looks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look takes time, and the replies that come meanwhile are seen late."""
    looked: list[list] = []
    monkeypatch.setattr(claims_arrivals, "unread", lambda connections: bool(looked.append(connections)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=greet_two, args=(listener,))
        server.start()
        wish = claims_arrivals.Wish(2, 0.0, 0.05, "greet", looks=looks)
        told = claims_arrivals.play(f"127.0.0.1:{listener.getsockname()[1]}", wish, 5.0, lambda: None)
        server.join()
    assert len(told["completions_ns"]) == 2 and bool(looked) == looks
    assert looks or told["interleaved"] is None


def greet_two(listener: socket.socket) -> None:
    clients = [listener.accept()[0] for _ in range(2)]
    names = [client.recv(100) for client in clients]
    time.sleep(0.05)
    for client, name in zip(clients, names):
        client.sendall(b"Hello " + name)
        client.close()


# --- real ones ------------------------------------------------------------------------------------------------------


def real(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess, Path]:
    options = ("--together", "--no-figures", "--results", str(folder / "r"))
    command = [sys.executable, "-m", "bench", "claim", "run", *words, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    made = sorted((folder / "r").iterdir()) if (folder / "r").exists() else []
    return done, made[-1] if made else folder


@REAL
def test_a_real_run_with_a_probe_arrivals_and_a_count(tmp_path: Path) -> None:
    texts = {
        "x01-kth": ARRIVALS.replace("[1, 3]", "[3]").replace('["blocking"]', '["blocking", "epoll_lt"]')
        + '[[parts]]\nname = "others"\nstatistic = "interleaving"\narm = "epoll_lt"\nregion = { equals = 1 }\n'
        + '[[parts]]\nname = "no"\nstatistic = "interleaving"\narm = "blocking"\nregion = { equals = 0 }\n',
    }
    if shutil.which("strace"):
        texts["x02-count"] = COUNT.replace("X01", "X02")
    page = next(iter(sorted((BUILT / "probes").glob("shared_offset"))), None)
    if page:
        texts["x03-probe"] = PROBE.replace("X01", "X03")
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    done, folder = real(tmp_path, *(str(tmp_path / f"{name}.toml") for name in texts), "--blocks", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    data = Data(folder)
    byname = {claim.id: claim for claim in data.claims}
    at = {"count": 3, "spread": "0ms", "delay": "50ms"}
    for arm, together in (("blocking", False), ("epoll_lt", True)):
        runs = data.arrivals(byname["X01"], arm, at)
        assert len(runs) == 2 and {run.interleaved for run in runs} <= {together, None}, "unknown on a busy host"
        for run in runs:
            assert run.completions_s == sorted(run.completions_s) and len(run.completions_s) == 3
            assert run.completions_s[0] >= 0.05, "never early"
            assert together or run.completions_s[2] >= 0.15, "one after the other"
    if "X02" in byname:
        counts = data.counts(byname["X02"], "toggled", {"connections": 1})
        assert [run["epoll_ctl"] for run in counts] == [2, 2]
    if "X03" in byname:
        assert len(data.probe(byname["X03"])) == 2
    for record in records.read_samples(folder):
        jsonschema.validate(record, checked.schema("sample"))


@REAL
def test_the_example_of_the_page_runs(tmp_path: Path) -> None:
    path = tmp_path / "x01-epoll-scales.toml"
    path.write_text(example())
    done, folder = real(tmp_path, str(path), "--blocks", "1")
    assert done.returncode in (0, 1), done.stdout + done.stderr  # a busy host may make a sample invalid, never wrong
    assert {r["status"] for r in records.read_samples(folder)} <= {"ok", "invalid"}
    assert "X01" in done.stdout
    assert f"{len(plan_ids(folder)) * 3} samples" in PAGE.read_text(), "what the page says of a quick run's size"


@pytest.mark.parametrize("unread", [claims_arrivals.unread, claims_arrivals.unread_in_proc])
def test_unread_requests_are_seen_in_the_servers_sockets(unread: Callable[[list], bool]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        ends = [(client.getpeername(), client.getsockname()) for client in clients]
        accepted = [listener.accept()[0] for _ in range(2)]
        assert not unread(ends)
        clients[0].sendall(b"name")
        clients[2].sendall(b"name")
        each = [unread([one]) for one in ends]
        assert each == [True, False, True], "of an accepted socket, and of one that waits to be"
        assert unread(ends)
        accepted[0].recv(4)
        assert not unread(ends[:2])
        for one in (*clients, *accepted):
            one.close()
    assert not unread(ends), "of what is over"


def test_unread_requests_are_seen_in_the_servers_queues(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    head = "  sl  local_address rem_address   st tx_queue rx_queue\n"
    rows = [
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003",  # the listener's queue counts connections
        "   1: 0100007F:1F90 0100007F:C001 01 00000000:00000008",
        "   2: 0100007F:1F90 0100007F:C002 01 00000000:00000000",
        "   3: 0100007F:C001 0100007F:1F90 01 00000000:00000040",
        "   4: 0100007F:1F90 0100007F:C003 06 00000000:00000008",
    ]
    (tmp_path / "net" / "tcp").write_text(head + "\n".join(rows) + "\n")
    server = ("127.0.0.1", 0x1F90)
    each = [claims_arrivals.unread_in_proc([(server, ("127.0.0.1", 0xC000 + n))], tmp_path) for n in (1, 2, 3, 4)]
    assert each == [True, False, False, False]


