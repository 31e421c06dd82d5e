"""Claim files: the shipped ones are right, and a wrong one is answered with file, key and what was expected."""

import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT

from bench import checked, claims_file, claims_regions, docs, metrics_more, paths
from bench.errors import UsageError

MEASURED = """
id = "X01"
title = "io_uring's lead over epoll grows with the clients"
regime = "Linux 5.6, echo"
[source]
title = "A benchmark"
author = "Somebody"
year = 2020
url = "https://example.org/a"
quote = ["it is faster, and more so with more clients"]
[experiment]
load = { protocol = "echo", size = 128 }
grid.connections = [1, 50, 300]
arms.models = ["epoll_lt", "io_uring"]
[[parts]]
name = "direction"
statistic = "ratio"
arm = "io_uring"
over = "epoll_lt"
metric = "throughput_rps"
at = { connections = 300 }
region = { above = 1.2 }
theirs = 1.49
[[parts]]
name = "scaling"
statistic = "slope"
arm = "io_uring"
metric = "p99_us_sent"
along = "connections"
region = { within = [0.5, 1] }
[verdict]
all = ["direction", { not = "scaling" }]
"""
ARRIVALS = """
id = "X01"
title = "One at a time"
regime = "a blocking server"
source = { title = "A blog", year = 2025, seed = "A", paraphrase = "one client at a time" }
[arrivals]
count = [1, 3]
delay = "50ms"
arms.models = ["blocking"]
[[parts]]
name = "behaviour"
statistic = "kth"
arm = "blocking"
at = { count = 3 }
k = 2
region = { within = [1.9, 2.2] }
"""
COUNT = """
id = "X01"
title = "Two calls fewer"
regime = "keep-alive"
source = { title = "A commit", author = "A", year = 2010, url = "https://example.org", paraphrase = "fewer calls" }
[count]
protocol = "echo"
[[count.arms.variants]]
name = "toggled"
model = "lab/epoll"
options = { write = "wait", interest = "toggled" }
[[parts]]
name = "size"
statistic = "calls"
call = "epoll_ctl"
arm = "toggled"
region = { equals = 2 }
"""
PROBE = """
id = "X01"
title = "An offset is shared"
regime = "Unix"
source = { title = "A post", year = 2017, seed = "B", paraphrase = "an offset is shared" }
[probe]
name = "shared_offset"
[[parts]]
name = "behaviour"
statistic = "fact"
field = "fork.parent_offset"
region = { equals = 8 }
"""


def load(folder: Path, text: str, name: str = "x01-a-test") -> claims_file.Claim:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return claims_file.load(path)


@pytest.mark.parametrize("path", claims_file.files(), ids=lambda p: p.stem)
def test_shipped_claim_is_right(path: Path) -> None:
    claim = claims_file.load(path)
    assert claim.parts or claim.absent


def test_shipped_claims_fit_together() -> None:
    claims_file.load_all()


@pytest.mark.parametrize("seed", claims_file.SEED_TEXTS)
def test_quotations_stand_in_the_source_document_word_for_word(seed: str) -> None:
    text = claims_file.seed_text(seed)
    if text is None:
        pytest.skip("the source documents' texts are not here (MUXBENCH_SEEDS may name their folder)")
    heads = [tomllib.loads(path.read_text())["source"] for path in claims_file.files()]
    quotes = [quote for head in heads if head.get("seed") == seed for quote in head.get("quote", [])]
    assert [quote for quote in quotes if " ".join(quote.split()) not in text] == []
    assert quotes, "the document is quoted somewhere"


def test_a_misquotation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / claims_file.SEED_TEXTS["A"]).write_text("It serves\n  one client after\tthe other.\n")
    monkeypatch.setenv("MUXBENCH_SEEDS", str(tmp_path))
    right = ARRIVALS.replace('paraphrase = "one client at a time"', 'quote = ["one client  after the other"]')
    assert load(tmp_path, right).source["quote"]
    with pytest.raises(UsageError, match="document A has no such words: 'two clients"):
        load(tmp_path, right.replace("one client ", "two clients "))


@pytest.mark.parametrize("text", [MEASURED, ARRIVALS, COUNT, PROBE], ids=["experiment", "arrivals", "count", "probe"])
def test_good_claim_loads_with_whole_cells(tmp_path: Path, text: str) -> None:
    claim = load(tmp_path, text)
    for part in claim.parts:
        for cell in claim.cells(part) if claim.kind != "probe" else ():
            assert list(cell) == list(claim.grid), "every axis, in the grid's order"


def test_cells_of_a_part_along_an_axis_and_of_one_that_compares_two(tmp_path: Path) -> None:
    claim = load(tmp_path, MEASURED)
    assert claim.cells(claim.parts[1]) == [{"connections": n} for n in (1, 50, 300)]
    assert claim.arms() == ["io_uring", "epoll_lt"]
    across = MEASURED.replace('statistic = "ratio"', 'statistic = "ratio_across"\nto = { connections = 1 }')
    claim = load(tmp_path, across)
    assert claim.cells(claim.parts[0]) == [{"connections": 300}, {"connections": 1}]


def test_a_population_of_the_load_has_metrics_of_its_own(tmp_path: Path) -> None:
    hogs = MEASURED.replace("size = 128 }", 'size = 128, populations.hogs = { connections = 2 } }')
    assert load(tmp_path, hogs.replace('"throughput_rps"', '"hogs.throughput_rps"')).parts
    with pytest.raises(UsageError, match=r"parts.direction.metric: unknown metric 'hog.throughput_rps'"):
        load(tmp_path, hogs.replace('"throughput_rps"', '"hog.throughput_rps"'))


ABSENT = MEASURED.split("[experiment]")[0].replace("[source]", 'absent = "kqueue is BSD\'s"\n[source]')


def test_what_nobody_can_test_needs_no_figures(tmp_path: Path) -> None:
    claim = load(tmp_path, ABSENT)
    assert claim.absent and claim.kind is None and claim.parts == []


WRONG = {
    "syntax": (MEASURED + "this is no TOML", "not valid TOML"),
    "unknown key": (MEASURED.replace("regime", "regim"), r"unknown key 'regim' \(did you mean regime\?\)"),
    "missing key": (MEASURED.replace('regime = "Linux 5.6, echo"', ""), "missing key 'regime': expected what"),
    "id and file": (MEASURED.replace("X01", "X02"), "id: X02 belongs in a file x02-some-words.toml"),
    "long quotation": (
        MEASURED.replace("it is faster,", "very " * 20 + "fast,"), "quotation 1 has 27 words, 25 are allowed"
    ),
    "no words at all": (MEASURED.replace("quote =", "#"), "source: expected a quote, or a paraphrase"),
    "no author": (MEASURED.replace('author = "Somebody"', ""), "source: missing key 'author'"),
    "two sources of figures": (MEASURED + '[probe]\nname = "edge_trigger"', "got experiment and probe"),
    "no source of figures": (ABSENT.replace("absent", "ours"), "expected one of experiment, probe, arrivals, count"),
    "absent and measured": (MEASURED.replace("[source]", 'absent = "?"\n[source]'), "absent: what nobody can test"),
    "no parts": (MEASURED.split("[[parts]]")[0], "missing key 'parts'"),
    "unknown statistic": (
        MEASURED.replace('"ratio"', '"ration"'), r"parts.0.statistic: .*\"ration\" \(did you mean ratio\?\)"
    ),
    "a statistic's missing key": (
        MEASURED.replace('over = "epoll_lt"', ""), "parts.direction: missing key 'over': expected the arm that"
    ),
    "a key of another statistic": (MEASURED.replace("theirs", "along"), "parts.direction: unknown key 'along'"),
    "a statistic of another source": (
        COUNT.replace('"calls"', '"fact"').replace('call = "epoll_ctl"\narm = "toggled"', 'field = "a"'),
        r"parts.size: statistic: fact is had of \[probe\], and this claim has \[count\]",
    ),
    "unknown arm": (
        MEASURED.replace('arm = "io_uring"', 'arm = "iouring"'),
        r"direction.arm: no arm 'iouring' \(did you mean io_uring",
    ),
    "an arm over itself": (MEASURED.replace('over = "epoll_lt"', 'over = "io_uring"'), "over itself is 1"),
    "unknown model": (
        MEASURED.replace('["epoll_lt"', '["epol_lt"'), r"arms.models: no model 'epol_lt' \(did you mean epoll_lt\?\)"
    ),
    "unknown lab page": (COUNT.replace("lab/epoll", "lab/epol"), r"variants.toggled.model: .*did you mean lab/epoll"),
    "unknown option": (COUNT.replace("write =", "wrote ="), r"lab/epoll has no --wrote \(did you mean write\?\)"),
    "unknown word of an option": (COUNT.replace('"toggled" }', '"on" }'), "options.interest: expected one of needed"),
    "unknown metric": (MEASURED.replace("throughput_rps", "throughput_rpm"), "did you mean throughput_rps"),
    "a counter the kernel has not": (
        MEASURED.replace("throughput_rps", "netstat.ListenOverflow"), "did you mean ListenOverflows"
    ),
    "a cell outside the grid": (
        MEASURED.replace("at = { connections = 300 }", "at = { connections = 301 }"),
        "at.connections: 301 is not in the grid, which has 1, 50, 300",
    ),
    "no cell": (MEASURED.replace("at = { connections = 300 }", ""), r"at: which connections\? The grid has 1, 50, 300"),
    "an axis that there is not": (
        MEASURED.replace("at = { connections", "at = { conections"), "no axis 'conections' .did you mean connections"
    ),
    "along nothing": (MEASURED.replace('along = "connections"', 'along = "idle"'), "the grid has no axis 'idle'"),
    "more clients than come": (ARRIVALS.replace("k = 2", "k = 4"), "k: of 3 clients none is the 4-th"),
    "neither delay nor work": (ARRIVALS.replace('delay = "50ms"', ""), "expected either `delay` or `work`"),
    "unknown load option": (MEASURED.replace("size = 128", "sise = 128"), "experiment: load: unknown key 'sise'"),
    "unknown experiment": (
        re.sub(r"\[experiment\].*?(?=\[\[)", "", MEASURED, flags=re.S).replace("[s", 'experiment = "rats"\n[s', 1),
        r"experiment: no experiment 'rats' \(did you mean rates\?\)",
    ),
    "unknown probe": (PROBE.replace("shared_offset", "shared"), r"probe.name: no page bench/probes/shared.c"),
    "unknown system call": (
        COUNT.replace('"epoll_ctl"', '"epoll_ctrl"'), r"no system call 'epoll_ctrl' \(did you mean epoll_ctl\?\)"
    ),
    "two parts of one name": (MEASURED.replace('"scaling"\n', '"direction"\n'), "parts: two of them have the name"),
    "a verdict on no part": (MEASURED.replace('not = "scaling"', 'not = "scalling"'), "verdict: no part 'scalling'"),
    "a verdict that cannot fail": (
        MEASURED.replace('all = ["direction", { not', 'any = ["scaling", { not'),
        "verdict: no sample could decide it: it is always true",
    ),
}


@pytest.mark.parametrize("text, message", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    assert text not in (MEASURED, ARRIVALS, COUNT, PROBE)
    with pytest.raises(UsageError, match=message) as raised:
        load(tmp_path, text)
    assert "x01-a-test.toml: " in str(raised.value) and "\n" not in str(raised.value)


REGIONS = {
    "contradicts itself": ("ratio", {"above": 2, "below": 1}, "contradicts itself"),
    "a negative ratio": ("ratio", {"below": 0}, "no sample could ever lie in it"),
    "any ratio": ("ratio", {"above": -1}, "every sample would lie in it"),
    "a point": ("ratio", {"equals": 1}, "an interval is never a point"),
    "no room": ("ratio", {"within": [1, 1]}, "room between the two"),
    "the wrong way round": ("slope", {"within": [2, 1]}, "the smaller number first"),
    "everything but a point": ("slope", {"outside": [1, 1]}, "room between the two"),
    "two at once": ("slope", {"within": [1, 2], "above": 3}, "expected one of"),
    "a share above 1": ("interleaving", {"above": 1}, "no sample could ever lie in it"),
    "a share that runs cannot show": ("interleaving", {"above": 0.99}, "12 runs that all agree show a share of 0.74"),
    "a skew below 1": ("skew", {"below": 0.9}, "no sample could ever lie in it"),
    "a negative count": ("calls", {"equals": -1}, "no sample could ever be -1"),
    "a count in words": ("calls", {"equals": "two"}, "expected a number"),
    "a sequence that is none": ("sequence", {"equals": 3}, "expected a list"),
    "an order in numbers": ("order", {"equals": 3}, "expected true or false"),
}


@pytest.mark.parametrize("statistic, region, message", REGIONS.values(), ids=REGIONS.keys())
def test_a_region_that_no_sample_could_decide_is_refused(statistic: str, region: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        claims_regions.check({"statistic": statistic, "region": region}, "file: parts.size")


DECIDABLE = [
    ("ratio", {"above": 1, "below": 2}),
    ("ratio", {"outside": [0.9, 1.1]}),
    ("slope", {"below": 0}),
    ("calls", {"equals": 0}),
    ("interleaving", {"equals": 1}),
    ("fact", {"equals": True}),
    ("fact", {"above": 3}),
    ("sequence", {"equals": [1, 2]}),
    ("order", {}),
    ("skew", {"above": 3}),
]


@pytest.mark.parametrize("statistic, region", DECIDABLE)
def test_a_region_that_could_go_either_way_is_taken(statistic: str, region: dict) -> None:
    claims_regions.check({"statistic": statistic, "region": region}, "file: parts.size")


def test_what_lies_beyond_a_grid_is_no_place_of_a_crossover() -> None:
    part = {"statistic": "crossover", "along": "idle", "region": {"above": 5000}}
    with pytest.raises(UsageError, match="a place on idle lies between 0 and 1000"):
        claims_regions.check(part, "file: parts.size", [0, 100, 1000])


def test_schema_is_one_and_every_statistic_has_its_rules() -> None:
    rules = checked.schema("claim")
    jsonschema.Draft202012Validator.check_schema(rules)
    named = rules["properties"]["parts"]["items"]["properties"]["statistic"]["enum"]
    assert set(named) == set(rules["$defs"]["statistics"])
    assert sorted(named) == sorted(name for names in claims_file.SOURCES.values() for name in names)


RECORD = {
    "options": {"mode": "closed"},
    "server": {"report": {"wakeups": 40, "errors": {"emfile": 2}}, "pids": [7], "threads_loaded": 3},
    "telemetry": {"netstat": {"ListenOverflows": 5}},
    "load": {
        "counts": {"completed": 100, "scheduled": 200, "errors": 50},
        "latency_sent_ns": {"p99": 5000, "stddev": 100},
        "latency_intended_ns": {"p99": 9000},
        "watch": [{"pid": 7, "voluntary_ctxt_switches": 30, "nonvoluntary_ctxt_switches": 20}],
        "connects": {"established": 10},
        "phase_ns": {"connect": 0, "warmup": 1_000_000_000, "measure": 1_000_000_000, "drain": 0},
        "populations": [{"name": "hogs", "config": {}, "latency_sent_ns": {"p99": 7000}, "achieved_rps": 12}],
    },
}
READ = {
    "p99_us": 5.0,
    "p99_us_sent": 5.0,
    "p99_us_intended": 9.0,
    "stddev_us": 0.1,
    "hogs.p99_us": 7.0,
    "hogs.throughput_rps": 12,
    "report.wakeups": 40,
    "report.errors.emfile": 2,
    "netstat.ListenOverflows": 5,
    "netstat.ListenDrops": 0,
    "ctx_switches_per_req": 0.5,
    "voluntary_per_req": 0.3,
    "connects_per_s": 5.0,
    "threads": 3,
    "failed_share": 0.25,
}


@pytest.mark.parametrize("name, value", READ.items())
def test_metrics_of_claims_are_read_off_a_record(name: str, value: float) -> None:
    assert metrics_more.find(name, ["hogs"]).read(RECORD) == pytest.approx(value)


def test_metrics_of_claims_never_guess() -> None:
    for name in [*metrics_more.names(), *READ]:
        metric = metrics_more.find(name, ["hogs"])
        assert metric.read({}) is None and metric.read({"load": None, "server": {}, "options": {}}) is None, name
    assert metrics_more.find("p99_us_send") is None and metrics_more.find("cats.p99_us", ["hogs"]) is None


PAGE = ROOT / "docs" / "claims.md"


def example() -> str:
    return re.search(r"```toml\n(.*?)```", PAGE.read_text(), re.S)[1]


def test_the_page_on_claims_is_current_and_its_example_right(tmp_path: Path) -> None:
    assert docs.filled(PAGE.read_text(), {}, PAGE) == PAGE.read_text(), "run: make docs"
    claim = load(tmp_path, example(), "x01-epoll-scales")
    assert claim.kind == "experiment" and len(claim.parts) == 2


def test_every_key_of_the_example_is_explained() -> None:
    told = tomllib.loads(example())
    text = PAGE.read_text()
    for key in [*told, *told["source"], *(key for part in told["parts"] for key in part)]:
        assert f"`{key}`" in text or f"`source.{key}`" in text, key


def test_paths_of_claims_are_where_the_house_says() -> None:
    assert paths.CLAIMS.is_dir() and paths.PROBES.is_dir()
