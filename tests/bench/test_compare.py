"""compare from end to end: a simulated host, builds of a throw-away repository, every verdict and every bad input."""

import argparse
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
import simulated
import tiny
from conftest import ROOT
from rich.console import Console

from bench import (
    cli,
    compare,
    compare_judge,
    compare_plan,
    compare_programs,
    compare_run,
    compare_sides,
    compare_text,
    docs_gate,
    paths,
    records,
    relink,
    revisions,
)
from bench.arms import Arm
from bench.compare_judge import CONTAMINATED, IMPROVED, INCONCLUSIVE, MISSING, PASS, REGRESSED
from bench.errors import BenchError, UsageError
from plots import comparison

NOBODY = Arm("x", ("x",), "0", protocols=("echo",))


# --- verdicts, without any process -----------------------------------------------------------------------------------


def decided(
    host: simulated.Host,
    quads: int = 40,
    confirm: int = 20,
    cells: tuple[str, ...] = ("rate=20000",),
    seed: int = 1,
    **plan,
):
    contests = [compare_plan.Contest("poll", key, compare_plan.options_of(key), {}, {}) for key in cells]
    planned = compare_plan.Plan(seed, {}, contests, {}, quads=quads, confirm_quads=confirm, **plan)
    bench = compare_run.Bench(host, lambda *_: NOBODY, NOBODY, None, lambda: None, lambda _: None, lambda: 0.0)
    compare_run.measure(bench, planned, 1.0)
    return compare_judge.judge(planned, bench.samples, intervals=False), planned, bench.samples


@pytest.mark.parametrize("noise", [simulated.independent, simulated.rough])
def test_a_server_against_itself_is_no_regression(noise) -> None:
    words = [
        decided(simulated.Host(simulated.costs(5, 5), noise(seed), seed), seed=seed)[0].verdict for seed in range(12)
    ]
    assert REGRESSED not in words and words.count(PASS) >= 6, words


def test_ten_per_cent_more_is_a_regression() -> None:
    words = [
        decided(simulated.Host(simulated.costs(5, 5.5), simulated.independent(seed), seed), seed=seed)[0].verdict
        for seed in range(10)
    ]
    assert words.count(REGRESSED) >= 8, words


def test_less_is_an_improvement_and_a_little_more_passes() -> None:
    quiet = simulated.independent(1, 0.03)
    assert decided(simulated.Host(simulated.costs(5, 4.5), quiet))[0].verdict == IMPROVED
    assert (
        decided(simulated.Host(simulated.costs(5, 5.1), quiet))[0].verdict == PASS
    ), "2 % are within the margin of 5 %"
    assert decided(simulated.Host(simulated.costs(5, 5.1), quiet), margin=0.001)[0].verdict == REGRESSED


def test_too_few_quads_are_inconclusive_and_say_what_they_could_have_found() -> None:
    judgement, plan, samples = decided(simulated.Host(simulated.costs(5, 5), simulated.independent(1)), quads=6)
    assert judgement.verdict == INCONCLUSIVE
    full = compare_judge.judge(plan, samples)
    assert full.found[0].detectable > 0.05 and full.found[0].low < 1 < full.found[0].high
    assert "would have been found" in compare_text.remark(full.found[0])


def test_what_another_link_order_takes_away_is_no_regression() -> None:
    """20 % slower as linked at first, the same when linked anew."""

    def cost(sample, _arm) -> float:
        return 6.0 if sample.arm == "B" and "/1/" in sample.id else 5.0

    judgement = decided(simulated.Host(cost, simulated.independent(2)))[0]
    assert judgement.verdict == INCONCLUSIVE
    assert judgement.found[0].confirmed and "in another order" in judgement.found[0].note


def test_a_side_that_does_not_answer_is_infinitely_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = decided(simulated.Host(simulated.costs(5, 5), simulated.independent(1)))[1]
    monkeypatch.setattr(compare_judge, "differences", lambda *_: [math.inf] * plan.quads)
    found = compare_judge.verdict_of(plan, [], plan.contests[0], "p50_us", intervals=True)
    assert found.verdict == REGRESSED and found.ratio == found.high == math.inf


def test_a_model_is_linked_anew_on_both_sides_or_on_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = {(1, "poll", letter): Arm(letter, (letter,), "") for letter in "AB"}
    contest = compare_plan.Contest("poll", "rate=20000", {}, {}, {})
    monkeypatch.setattr(compare_programs, "from_executable", lambda path: Arm(str(path), (str(path),), ""))
    for has_objects, anew in (("AB", True), ("A", False), ("B", False)):
        made = compare_programs.Programs({"A": None, "B": None}, tmp_path, arms=dict(arms))
        monkeypatch.setattr(made, "relinked", lambda model, letter: tmp_path / letter if letter in has_objects else None)
        made.link_anew("poll")
        second = [made.arm(2, contest, letter) for letter in "AB"]
        assert (second != list(arms.values())) == anew and ("poll" in made.as_linked) != anew


def test_the_control_is_as_it_was() -> None:
    """Histories are counted in its units: whoever changes it begins a new one, under another name."""
    source = (ROOT / "tests" / "arms" / "plain_epoll.c").read_bytes()
    assert hashlib.sha256(source).hexdigest() == "f24c29110e802bb145449f85177206202d1ecb920051d89de528d22d68c584c6"


def test_a_control_that_jumps_is_the_host_and_a_drift_is_not() -> None:
    def jumping(_seed: int) -> simulated.Noise:
        noise = simulated.independent(3)
        return lambda place: noise(place) + (0.6 if place > 80 else 0.0)

    judgement = decided(simulated.Host(simulated.costs(5, 5.6), jumping(3)))[0]
    assert judgement.verdict == CONTAMINATED and "moved by +" in judgement.why
    drifting = simulated.independent(4)
    judgement = decided(simulated.Host(simulated.costs(5, 5.6), lambda place: drifting(place) + 0.0005 * place))[0]
    assert judgement.verdict == REGRESSED
    judgement = decided(simulated.Host(simulated.costs(5, 5), simulated.independent(5, 0.5)))[0]
    assert judgement.verdict == CONTAMINATED and "varied by" in judgement.why


def test_one_slow_cell_of_six_is_named() -> None:
    cells = tuple(compare_plan.SETS["wide"])

    def cost(sample, _arm) -> float:
        return 6.0 if sample.arm == "B" and sample.cell == "poll/size=4096" else 5.0

    judgement = decided(simulated.Host(cost, simulated.independent(6)), cells=cells)[0]
    assert judgement.verdict == REGRESSED and judgement.why.startswith("poll/size=4096: server CPU per request")
    assert [one.contest for one in judgement.found if one.verdict == REGRESSED] == ["poll/size=4096"]


def test_a_recorded_comparison_is_decided_again_as_it_was() -> None:
    for seed, slower in ((1, 1.0), (2, 1.1), (3, 1.04)):
        judgement, plan, samples = decided(
            simulated.Host(simulated.costs(5, 5 * slower), simulated.independent(seed)), seed=seed
        )
        again = compare_plan.Plan.from_record(json.loads(json.dumps(plan.as_record(1))))
        assert compare_judge.judge(again, json.loads(json.dumps(samples)), intervals=False) == judgement


def test_quads_are_balanced_and_their_order_is_a_coin() -> None:
    contest = compare_plan.Contest("poll", "rate=1", {}, {}, {})
    plan = compare_plan.Plan(5, {}, [contest], {})
    orders = ["".join(s.arm[0] for s in compare_plan.quad(plan, contest, 1, index)) for index in range(200)]
    assert set(orders) == {"ABcBA", "BAcAB"} and 70 < orders.count("ABcBA") < 130
    assert orders == ["".join(s.arm[0] for s in compare_plan.quad(plan, contest, 1, index)) for index in range(200)]


def test_a_server_that_fails_ends_the_comparison_with_its_last_words() -> None:
    def failing(sample, arm) -> dict:
        return {
            **simulated.as_record(sample, 5, 5),
            "status": "failed",
            "why": "the server ended with status 1",
            "last_words": "no memory",
        }

    with pytest.raises(BenchError, match="A, poll/rate=20000: the server ended with status 1: no memory|B, poll"):
        decided(failing)


def test_exit_codes() -> None:
    assert [
        compare.exit_code(word, False) for word in (PASS, IMPROVED, INCONCLUSIVE, REGRESSED, CONTAMINATED, MISSING)
    ] == [0, 0, 0, 10, 12, 13]
    assert compare.exit_code(INCONCLUSIVE, True) == 11 and compare.exit_code(PASS, True) == 0
    assert [compare.bisect_code(word) for word in (PASS, IMPROVED, REGRESSED, INCONCLUSIVE, CONTAMINATED, MISSING)] == [
        0,
        0,
        1,
        125,
        125,
        125,
    ]
    table = (ROOT / "docs" / "exit-codes.md").read_text()
    for code in (10, 11, 12, 13):
        assert f"\n| {code} | " in table


# --- with a throw-away repository ------------------------------------------------------------------------------------


class Shop:
    """A repository, a build folder and a results folder of one test."""

    def __init__(self, folder: Path):
        self.folder, self.repository = folder, tiny.Repository(folder / "repository")
        self.build, self.results, self.scratch = folder / "build", folder / "results", folder / "scratch"
        (self.build / "arms").mkdir(parents=True)
        self.scratch.mkdir()
        control = self.build / "arms" / "plain_epoll"
        control.write_text("#!/bin/sh\n")
        control.chmod(0o755)

    def environment(self) -> dict[str, str]:
        return {**os.environ, "BUILD": str(self.build), "MUXBENCH_LOCK": str(self.folder), "TMPDIR": str(self.scratch)}

    def words(self, *words: str) -> list[str]:
        whole = ["--max-time", "300"] * (words != () and "--max-time" not in words)  # however busy the machine is
        return [*words, *whole, "--repo", str(self.repository.folder), "--results", str(self.results)]

    def compare(self, *words: str, host=None) -> tuple[compare_judge.Judgement, str]:
        parser = argparse.ArgumentParser()
        compare.add_options(parser)
        parser.add_argument("--results")
        shown = StringIO()
        console = Console(file=shown, width=250)
        options = parser.parse_args(self.words("--seed", "1", *words))
        return compare.compare(console, options, host or tiny.Host(simulated.independent(1))), shown.getvalue()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(made.scratch))
    monkeypatch.setattr(
        compare.env, "collect", lambda: {"schema": 1, "fingerprint": "simulated"}
    )  # the real one asks make
    return made


def test_two_revisions_records_and_the_same_verdict_again(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    slow = shop.repository.commit(cost=6.0)
    judgement, shown = shop.compare("HEAD~1", "HEAD", "--json", str(shop.folder / "told.json"))
    assert judgement.verdict == REGRESSED and slow[:12] in shown, shown
    run = next(shop.results.iterdir())
    assert {path.name for path in run.iterdir()} == {"compare.json", "samples.jsonl", "env.json", "verdict.json"}
    told = json.loads((shop.folder / "told.json").read_text())
    assert (
        told["exit"] == 10
        and told["sides"]["B"]["revision"] == slow
        and told == json.loads((run / "verdict.json").read_text())
    )
    assert all(sample["schema"] == records.SCHEMA for sample in records.read_samples(run))
    command = [
        sys.executable,
        "-m",
        "bench",
        "compare",
        "--no-figures",
        "--from",
        run.name,
        "--results",
        str(shop.results),
        "--json",
        "-",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 10 and json.loads(done.stdout) == told, done.stderr
    assert os.listdir(shop.scratch) == [], "sources and staged programs are gone"


def test_a_figure_shows_every_quad_of_both_passes(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.commit(cost=6.0)
    shop.compare("HEAD~1", "HEAD")
    told = json.loads((next(shop.results.iterdir()) / "verdict.json").read_text())
    (one,) = {found["contest"] for found in told["found"]}
    passes = told["quads"][one]["server_cpu_us_per_req"]
    assert len(passes["first"]) >= 6 and len(passes["second"]) >= 6
    assert 0.1 < sorted(passes["first"])[len(passes["first"]) // 2] < 0.3, "ln(6/5) is 0.18"
    figure = comparison.draw(told, "a host")
    dots = [len(points.get_offsets()) for points in figure.axes[0].collections]
    assert dots == [len(quads) for metric in told["labels"] for quads in told["quads"][one][metric].values()]
    told["quads"][one]["p50_us"]["first"][0] = None  # one that was infinite
    comparison.draw(told, "a host")
    words = " ".join(text.get_text() for text in figure.texts + figure.axes[0].texts)
    assert "REGRESSED" in words and "a host" in words and told["run"] in words


def test_long_names_stay_on_the_figures_page(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.commit(cost=6.0)
    shop.compare("HEAD~1", "HEAD")
    text = (next(shop.results.iterdir()) / "verdict.json").read_text()
    told = json.loads(text.replace("poll/rate=20000", "contender/rate=20000,protocol=http,connections=500"))
    for side in told["sides"].values():
        side["shown"] = "/somewhere" * 12 + "/build"
    figure = comparison.draw(told, "a host")
    figure.draw_without_rendering()
    page = figure.bbox
    for shown in [*figure.texts, *figure.axes[0].get_yticklabels(), *figure.axes[0].texts]:
        box = shown.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1, shown.get_text()


def test_a_comparison_becomes_the_documents_example(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.repository.commit(cost=5.0)
    slow = shop.repository.commit(cost=6.0)
    shop.compare("HEAD~1", "HEAD")
    monkeypatch.setattr(docs_gate, "COMPARISON", tmp_path / "example")
    docs_gate.take_comparison(next(shop.results.iterdir()).name, shop.results)
    told = docs_gate.example({})
    assert "**REGRESSED**" in told and slow[:12] in told and "| server CPU per request | +2" in told, told


def test_the_same_machine_code_is_not_measured(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.commit(cost=5.0)
    never = pytest.fail
    judgement, shown = shop.compare("HEAD~1", "HEAD", "--models", "poll", host=never)
    assert judgement.verdict == PASS and "the same machine code" in shown and not shop.results.exists()


def test_which_models_are_measured_follows_from_what_changed(shop: Shop) -> None:
    for name in ("poll", "select", "epoll_lt"):
        shop.repository.commit(name=name, cost=5.0)
    shop.repository.commit(name="select", cost=5.1)
    judgement, _ = shop.compare("HEAD~1", "HEAD", "--max-time", "1")
    assert {one.contest for one in judgement.found} == {"select/rate=20000"}
    judgement, _ = shop.compare("HEAD", "HEAD")
    assert judgement.verdict == PASS and judgement.why == "no server differs"


def test_what_does_not_build_is_said_with_its_first_error(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.commit(more="# poll.c:7: error: expected ';'\n", cost=5.0)
    with pytest.raises(revisions.DoesNotBuild) as raised:
        shop.compare("HEAD~1", "HEAD")
    words = str(raised.value)
    assert "does not build: # poll.c:7: error: expected ';'; the whole log: " in words
    assert os.listdir(shop.scratch) == [] and any(
        "expected ';'" in log.read_text() for log in shop.build.glob("revisions/*.log")
    )


def test_a_model_that_one_side_lacks_is_missing(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.commit(name="select", cost=5.0)
    judgement, shown = shop.compare("HEAD~1", "HEAD", "--models", "select,poll")
    assert judgement.verdict == MISSING and "has no select" in shown
    with pytest.raises(UsageError, match="neither side has a model 'kqueue'"):
        shop.compare("HEAD~1", "HEAD", "--models", "kqueue")


def test_a_dirty_tree_is_named_and_work_compares_it(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.write(cost=6.0)
    judgement, shown = shop.compare("HEAD", "HEAD")
    assert judgement.verdict == PASS and "without what the working tree changed: servers/poll.c" in shown
    judgement, shown = shop.compare("HEAD", "--dirty")
    assert judgement.verdict == REGRESSED and "WORK-" in shown
    work = compare_sides.recognised("B", "WORK", shop.repository.folder)
    assert "cost=6.0" in compare_sides.built(work, ["poll"])["poll"].read_text()


def test_a_shallow_clone_says_what_to_fetch(shop: Shop) -> None:
    first = shop.repository.commit(cost=5.0)
    shop.repository.commit(cost=5.0)
    clone = shop.folder / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{shop.repository.folder}", clone], check=True)
    shop.repository.folder = clone
    for word in ("HEAD~1", first):
        with pytest.raises(UsageError, match="shallow clone; run: git fetch --unshallow"):
            shop.compare(word, "HEAD")


@pytest.mark.parametrize(
    "words, said",
    [
        (("nosuch", "HEAD"), "'nosuch' names no commit, build folder or contender"),
        (("HEAD", "RUN"), "is a recorded run: two runs were measured at different times"),
        (
            ("RUN", "OTHER"),
            "different hosts or settings .fingerprints 1a and 2b.; have both revisions measured in one run",
        ),
        (("HEAD", "EMPTY"), "is no build folder: it has no servers/"),
        (("HEAD", "WORK", "--cells", "ratee=3"), "no load option 'ratee' .did you mean rate"),
        (("HEAD", "WORK", "--cells", "rate=3,mode=closed"), "mode=open is the only one"),
        (("HEAD", "WORK", "--cells", "many"), "expected a load such as .*usual or wide"),
        (("HEAD", "WORK", "--metrics", "throughput_rps"), "expected one of which less is better"),
        (("HEAD", "WORK", "--metrics", "p5_us"), "unknown metric 'p5_us' .did you mean p50_us"),
        (("HEAD", "WORK", "--margin", "0"), "--margin: expected per cent"),
        (("HEAD", "WORK", "--max-time", "0"), "--max-time: expected seconds"),
        (("HEAD", "HEAD", "--dirty"), "leave one of them out"),
        ((), "expected a side A"),
    ],
)
def test_bad_input_is_one_line(shop: Shop, words: tuple[str, ...], said: str) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.write(cost=6.0)
    for name, host in (("RUN", "1a"), ("OTHER", "2b"), ("EMPTY", None)):
        (shop.folder / name).mkdir()
        if host:
            (shop.folder / name / "compare.json").write_text("{}")
            (shop.folder / name / "env.json").write_text(json.dumps({"schema": 1, "fingerprint": host}))
    words = tuple(str(shop.folder / word) if word in ("RUN", "OTHER", "EMPTY") else word for word in words)
    with pytest.raises(UsageError, match=said) as raised:
        shop.compare(*words)
    assert "\n" not in str(raised.value) and raised.value.exit_code == 2


def test_git_bisect_finds_the_commit(shop: Shop) -> None:
    good = shop.repository.commit(cost=5.0)
    shop.repository.commit(cost=5.0)
    shop.repository.commit(more="# error: does not build\n", cost=5.0)
    shop.repository.commit(cost=5.0)
    bad = shop.repository.commit(cost=6.0)
    shop.repository.commit(cost=6.0)
    command = tiny.script(shop.folder / "gate.py")
    shop.repository.git("bisect", "start", "HEAD", good)
    run = ["bisect", "run", sys.executable, str(command), *shop.words(good, "HEAD", "--bisect", "--models", "poll")]
    said = shop.repository.git(*run)
    assert f"{bad} is the first bad commit" in said, said


def test_in_a_bisection_an_error_is_no_answer(shop: Shop) -> None:
    shop.repository.commit(cost=5.0)
    done = subprocess.run(
        [sys.executable, tiny.script(shop.folder / "gate.py"), *shop.words("nosuch", "HEAD", "--bisect")],
        capture_output=True,
    )
    assert done.returncode == 255, "git bisect takes 1 to 127 for bad"
    assert cli.main(["compare", "HEAD~1", "HEAD", "--bisect", "--modles", "poll"]) == 255
    assert cli.main(["compare", "HEAD~1", "HEAD", "--bisect", "--margin", "0"]) == 255


@pytest.mark.parametrize("when", ["measuring", "building"])
def test_ctrl_c_leaves_nothing_behind(shop: Shop, when: str) -> None:
    shop.repository.commit(cost=5.0)
    shop.repository.commit(more="# stalls\n" if when == "building" else "", cost=6.0)
    command = [sys.executable, str(tiny.script(shop.folder / "gate.py", pause=0.02)), *shop.words("HEAD~1", "HEAD")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    sign = (
        (lambda: list(shop.results.glob("*/compare.json")))
        if when == "measuring"
        else (lambda: len(list(shop.build.glob("revisions/*.log"))) > 1)
    )
    end = time.monotonic() + 60
    while not sign() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert os.listdir(shop.scratch) == [] and list(shop.results.glob("*")) == []
    living = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(shop.folder) not in living


BUILT = paths.build_dir()
HAVE = all(
    (BUILT / name).exists()
    for name in ("loadgen", "calibrate", "arms/plain_epoll", "servers/epoll_lt", "servers.d/epoll_lt.o")
)


@pytest.mark.skipif(not HAVE, reason="the servers are not built (make)")
def test_real_servers_are_staged_alike_measured_and_gone(tmp_path: Path) -> None:
    """A few quads of the real thing; a busy machine may make them invalid, and no figure is judged."""
    words = [
        "build",
        "build",
        "--models",
        "epoll_lt",
        "--measure-identical",
        "--max-time",
        "1.5",
        "--together",
        "--results",
        str(tmp_path),
    ]
    words[:2] = [str(BUILT)] * 2
    done = subprocess.run(
        [sys.executable, "-m", "bench", "compare", *words], cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert done.returncode in (0, 12), done.stdout + done.stderr
    run = next(tmp_path.iterdir())
    found = records.read_samples(run)
    assert {(s["arm"], s["role"]) for s in found} == {("A", "arm"), ("B", "arm"), ("control", "control")}
    good = [s for s in found if s["status"] == "ok"]
    assert all(s["load"]["counts"]["completed"] > 0 and "bins" not in json.dumps(s) for s in good)
    a, b = (json.loads((run / "compare.json").read_text())["contests"][0][side]["argv"][0] for side in "ab")
    assert len(a) == len(b) and a != b and not Path(a).exists()


# --- building and linking --------------------------------------------------------------------------------------------


def test_a_build_is_kept_and_used_again(shop: Shop) -> None:
    name = shop.repository.commit(cost=5.0)
    folder = revisions.built("HEAD", ["servers/poll"], shop.repository.folder)
    assert "cost=5.0" in (folder / "servers" / "poll").read_text() and len(folder.name) == 16
    (folder / "servers" / "poll").write_text("kept")
    assert revisions.built(name, ["servers/poll"], shop.repository.folder) == folder
    assert (folder / "servers" / "poll").read_text() == "kept", "not built twice"
    with pytest.raises(revisions.NoSuchTarget):
        revisions.built(name, ["servers/select"], shop.repository.folder)
    assert (
        shop.repository.git("worktree", "list").count("\n") == 0 and shop.repository.git("status", "--porcelain") == ""
    )


PARTS = {
    "one": "int one(int x) { return x * 3 + 1; }",
    "two": "int two(int x) { return x ? x / 3 : 7; }",
    "six": "int six(int x) { return ~x; }",
}


def test_linking_anew_moves_code_and_changes_nothing_else(tmp_path: Path) -> None:
    build = tmp_path / "build"
    for folder in ("core", "servers", "servers.d"):
        (build / folder).mkdir(parents=True)
    (tmp_path / "x.c").write_text(
        '#include <stdio.h>\nint one(int), two(int);\nint main(void) { printf("%d\\n", one(4) + two(9)); return 0; }\n'
    )
    for name, text in PARTS.items():
        (tmp_path / f"{name}.c").write_text(text + "\n")
    run = lambda *words: subprocess.run(words, check=True, capture_output=True, text=True).stdout  # noqa: E731
    for name in PARTS:
        run("cc", "-c", "-o", str(build / "core" / f"{name}.o"), str(tmp_path / f"{name}.c"))
    run("ar", "rcs", str(build / "core.a"), *(str(build / "core" / f"{name}.o") for name in PARTS))
    run("cc", "-c", "-o", str(build / "servers.d" / "x.o"), str(tmp_path / "x.c"))
    run("cc", "-o", str(build / "servers" / "x"), str(build / "servers.d" / "x.o"), str(build / "core.a"))
    places = {}
    for seed in (1, 2):
        out = tmp_path / f"x{seed}"
        assert relink.relinked(build, "servers/x", seed, out)
        assert run(str(out)) == run(str(build / "servers" / "x")) == "16\n"
        places[seed] = {line.split()[2]: line.split()[0] for line in run("nm", str(out)).splitlines() if " T " in line}
        assert "six" not in places[seed], "what the page does not use stays out"
    before = {
        line.split()[2]: line.split()[0]
        for line in run("nm", str(build / "servers" / "x")).splitlines()
        if " T " in line
    }
    assert all(before[name] != places[1][name] for name in ("main", "one", "two")) and places[1] != places[2]
    assert not relink.relinked(tmp_path, "servers/x", 1, tmp_path / "no"), "a folder without objects"
    bare = tmp_path / "bare"
    run(
        "cc",
        "-g",
        "-Wl,--build-id=0x" + "12" * 20,
        "-o",
        str(bare),
        str(build / "servers.d" / "x.o"),
        str(build / "core.a"),
    )
    assert (
        compare_sides.code_of(bare)
        == compare_sides.code_of(build / "servers" / "x")
        != compare_sides.code_of(tmp_path / "x1")
    )
