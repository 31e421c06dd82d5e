"""What experiment files can say of a load: populations, classes, events, relative rates, crowds, needs, variants."""

import json
from pathlib import Path

import pytest
from conftest import EXPERIMENT, House

from bench import experiment, measure, metrics, needs, plan, relative
from bench.arms import Arm, why_unfit
from bench.errors import UsageError

GOOD = EXPERIMENT.format(blocks=2, duration="5ms", rates="[1000, 2000]")
HOGS = """
[load.populations.hogs]
connections = 1
depth = 64
"""


def loaded(folder: Path, text: str) -> experiment.Experiment:
    path = folder / "one.toml"
    path.write_text(text)
    return experiment.load(path)


def with_hogs(folder: Path) -> experiment.Experiment:
    text = GOOD.replace("[profiles.quick]", HOGS + "[profiles.quick]").replace(
        "grid.rate = [1000, 2000]", "grid.rate = [1000]\ngrid.hogs.connections = [0, 4]"
    )
    return loaded(folder, text)


def test_a_populations_options_are_a_grid_of_their_own(tmp_path: Path) -> None:
    found = with_hogs(tmp_path)
    none, four = (found.load_of("quick", cell) for cell in found.cells("quick"))
    assert "populations" not in none, "a population of nobody is left away"
    assert four["populations"] == {"hogs": {"connections": 4, "depth": 64}}
    assert experiment.crowd(four) == 6
    assert [experiment.cell_key(cell) for cell in found.cells("quick")][1] == "rate=1000,hogs.connections=4"


def test_populations_classes_and_pauses_reach_the_load_generator(tmp_path: Path) -> None:
    words = [
        w
        for option in {
            "populations": {"hogs": {"connections": 4, "send_part": 10}},
            "classes": ["a", "b"],
            "pause": "1s+2s",
            "per_connection": 1,
        }.items()
        for w in measure.as_words(*option, [7])
    ]
    assert words == [
        "--population",
        "hogs: --connections 4 --send-part 10",
        "--class",
        "a",
        "--class",
        "b",
        "--pause",
        "7@1s+2s",
        "--per-connection",
        "1",
    ]


def test_a_share_of_a_crowd_speaks_and_the_others_are_idle(tmp_path: Path) -> None:
    text = GOOD.replace("connections = 2", "total = 1000").replace(
        "grid.rate = [1000, 2000]", 'grid.rate = [1000]\ngrid.share = ["1%", "100%"]'
    )
    found = loaded(tmp_path, text)
    few, all_of_them = (found.load_of("quick", cell) for cell in found.cells("quick"))
    assert (few["connections"], few["idle"]) == (10, 990)
    assert (all_of_them["connections"], all_of_them["idle"]) == (1000, 0)


@pytest.mark.parametrize("limit, most", [(20_000, 19_000), (1024, 958), (1 << 20, 400_000)])
def test_max_is_what_descriptors_and_ports_allow(tmp_path: Path, limit: int, most: int) -> None:
    text = GOOD.replace("grid.rate = [1000, 2000]", 'grid.rate = [1000]\ngrid.idle = [0, 1000, "max"]')
    grid = loaded(tmp_path, text).bounded(limit).profiles["quick"].grid["idle"]
    assert grid[0] == 0 and grid[-1] == most and sorted(grid) == grid


def test_a_crowd_beyond_one_addresss_ports_gets_more_addresses(tmp_path: Path) -> None:
    found = loaded(tmp_path, GOOD.replace("connections = 2", "connections = 2\nidle = 60000"))
    assert found.load_of("quick", {"rate": 1000})["sources"] == 3


def test_server_options_may_be_the_axis_and_leave_out_who_has_none(tmp_path: Path) -> None:
    text = (
        GOOD.replace('x = "rate"', 'x = "workers"')
        .replace("grid.rate = [1000, 2000]", "grid.workers = [1, 4]")
        .replace("[load]", "[load]\nrate = 10")
    )
    pool = Arm("pool", ("x",), "0", protocols=("echo",), options=("workers",))
    loop = Arm("loop", ("x",), "0", protocols=("echo",))
    made = plan.make([loaded(tmp_path, text)], {"one": [pool, loop]}, {}, "quick", 1, 1000)
    assert {(s.arm, s.server["workers"], "workers" in s.options) for s in made.samples} == {
        ("pool", 1, False),
        ("pool", 4, False),
    }
    assert {o["why"] for o in made.left_out} == {"has no --workers"}


def test_populations_count_against_who_serves_few() -> None:
    few = Arm("few", ("x",), "0", protocols=("echo",), clients_at_once=5)
    load = {"protocol": "echo", "connections": 3}
    assert why_unfit(few, load, 1000) is None
    assert why_unfit(few, {**load, "populations": {"hogs": {"connections": 3}}}, 1000) == "serves 5 clients at once"


RELATIVE = GOOD.replace("[1000, 2000]", '["50%", "200%"]') + '\n[capacity]\nof = "epoll_lt"\nsamples = 2\n'


def test_a_relative_rate_is_a_share_of_what_was_measured_first(house: House) -> None:
    house.servers("epoll_lt", "poll")
    done = house.bench("run", house.experiment(RELATIVE), "--no-figures")
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in (house.run_folder() / "samples.jsonl").read_text().splitlines()]
    assert [r["role"] for r in found[:2]] == ["capacity"] * 2 and "rate" not in found[0]["options"]
    for record in found[2:]:
        assert record["relative_rate"]["of"] == "epoll_lt" and record["relative_rate"]["capacity_rps"] == 200_000
        assert record["options"]["rate"] == {"50%": 100_000, "200%": 400_000}[record["relative_rate"]["share"]]
    planned = json.loads((house.run_folder() / "plan.json").read_text())["samples"]
    assert planned[-1]["options"]["rate"] in ("50%", "200%"), "the plan is written before anything is known"
    summary = json.loads((house.run_folder() / "derived" / "summary.json").read_text())
    assert [cell["x"] for cell in summary["experiments"]["test"]["cells"]] == [50, 200]
    assert "50%" in done.stdout


def test_each_may_have_a_capacity_of_its_own_and_without_one_the_sample_fails() -> None:
    records = [
        {"experiment": "e", "arm": arm, "role": "capacity", "status": status, "load": {"achieved_rps": rps}}
        for arm, status, rps in (("a", "ok", 100), ("a", "ok", 300), ("a", "ok", 200), ("b", "failed", 1))
    ]
    sample = plan.Sample("id", "e", "c", 0, "a", "arm", {"rate": "50%"}, {})
    resolved, told = relative.resolve(sample, {"capacity": {"of": "each"}}, records)
    assert resolved.options["rate"] == 100 and told == {"share": "50%", "of": "a", "capacity_rps": 200}
    unresolved, told = relative.resolve(
        plan.Sample("id", "e", "c", 0, "b", "arm", {"rate": "50%"}, {}), {"capacity": {"of": "each"}}, records
    )
    assert unresolved.options["rate"] == "50%" and told["capacity_rps"] is None


def test_what_the_host_lacks_is_left_out_with_its_reason(house: House) -> None:
    house.servers("epoll_lt")
    text = GOOD + '\n[needs]\ncommands = ["no-such-program"]\n'
    done = house.bench("run", house.experiment(), house.experiment(text, name="needy"), "--no-figures")
    assert done.returncode == 0, done.stderr
    assert "needs no-such-program, which is not installed" in done.stdout
    assert needs.missing({"fds": 500}, 100) == "needs 500 descriptors, this host has 100"
    assert needs.missing({"fds": 50, "cores": 1}, 100) is None


def test_a_variant_is_a_model_started_with_options(house: House) -> None:
    house.servers("epoll_lt")
    text = GOOD + '\n[[arms.variants]]\nname = "late"\nmodel = "epoll_lt"\noptions = {delay = "1ms"}\n'
    assert house.bench("run", house.experiment(text), "--no-figures").returncode == 0
    found = [json.loads(line) for line in (house.run_folder() / "samples.jsonl").read_text().splitlines()]
    late = [r for r in found if r["arm"] == "late"]
    assert len(late) == 4 and all(r["server"]["argv"][1:3] == ["--delay", "1ms"] for r in late)
    wrong = house.bench("run", house.experiment(text.replace("delay =", "delai ="), name="wrong"), "--no-figures")
    assert wrong.returncode == 2 and "epoll_lt has no --delai (did you mean delay?)" in wrong.stderr


def test_requests_of_all_populations_share_the_servers_cpu() -> None:
    record = {
        "load": {"counts": {"completed": 10}, "populations": [{"counts": {"completed": 90}, "achieved_rps": 9.0}]}
    }
    assert metrics.requests(record) == 100 and metrics.others_rps(record) == 9.0


WRONG = {
    "relative rate without a capacity": (
        RELATIVE.partition("[capacity]")[0],
        ["load.rate", "50% of what?", "[capacity]"],
    ),
    "population that is not there": (GOOD + "grid.hog.depth = [1]\n", ["grid", "no population 'hog'"]),
    "population's unknown option": (
        GOOD.replace("[profiles.quick]", HOGS + "colour = 1\n[profiles.quick]"),
        ["load.populations.hogs", "unknown key 'colour'"],
    ),
    "share that is no share": (GOOD + 'grid.share = ["some"]\n', ["profiles.quick.grid: share", 'such as "10%"']),
    "event that is none": (
        GOOD.replace("connections = 2", 'connections = 2\npause = "now"'),
        ["load.pause", "AT+FOR", '"now"'],
    ),
    "need that nobody knows": (
        GOOD + "\n[needs]\nroots = true\n",
        ["needs", "unknown key 'roots'", "did you mean root?"],
    ),
    "panels outside the grid": (
        GOOD.replace('x = "rate"', 'x = "rate"\npanels = "share"'),
        ["panels", "an option of profiles.quick.grid"],
    ),
    "variant without options": (
        GOOD + '\n[[arms.variants]]\nname = "a"\nmodel = "poll"\n',
        ["arms.variants.0", "missing key 'options'"],
    ),
    "option that is neither load nor server": (
        GOOD + "grid.worker = [1]\n",
        ["unknown key 'worker'", "did you mean workers?"],
    ),
}


@pytest.mark.parametrize("text, words", WRONG.values(), ids=WRONG.keys())
def test_wrong_file_is_answered_with_file_key_and_expectation(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        loaded(tmp_path, text)
    for word in ["one.toml", *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_documented_experiment_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "experiments.md").read_text()
    found = loaded(tmp_path, page.partition("```toml\n")[2].partition("```")[0])
    assert len(found.cells("quick")) == 6 and found.capacity["of"] == "each" and found.panels == "rate"
    assert "populations" not in found.load_of(
        "quick", {}, found.capacity["load"]
    ), "no hogs while the capacity is measured"


def test_where_no_capacity_could_be_measured_what_hangs_on_it_is_invalid_and_the_run_still_ends(house: House) -> None:
    house.servers("invalidates")
    text = RELATIVE.replace('reference = "epoll_lt"', 'reference = "invalidates"').replace(
        'of = "epoll_lt"', 'of = "each"'
    )
    done = house.bench("run", house.experiment(text))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "its rate is a share of a capacity that no good sample showed" in done.stdout
    assert "could not be drawn" not in done.stderr, "nothing to draw is no failure to draw"
