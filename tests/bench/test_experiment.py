"""Experiment files: the shipped ones load, and a wrong one is answered with file, key and what was expected."""

from pathlib import Path

import pytest
from conftest import EXPERIMENT

from bench import experiment, paths
from bench.errors import UsageError

GOOD = EXPERIMENT.format(blocks=2, duration="5ms", rates="[1000, 2000]")


@pytest.mark.parametrize("path", sorted(paths.EXPERIMENTS.glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_experiment_loads_and_has_both_profiles(path: Path) -> None:
    loaded = experiment.load(path)
    assert set(loaded.profiles) == {"quick", "full"}
    assert loaded.profiles["full"].blocks >= 12, "full is for verdicts"
    assert len(loaded.cells("quick")) <= len(loaded.cells("full"))


def test_cells_are_the_product_of_the_grid(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(GOOD + "grid.connections = [1, 2]\n")
    loaded = experiment.load(path)
    cells = loaded.cells("quick")
    assert [experiment.cell_key(c) for c in cells] == [
        "rate=1000,connections=1",
        "rate=1000,connections=2",
        "rate=2000,connections=1",
        "rate=2000,connections=2",
    ]
    assert loaded.load_of("quick", cells[1])["connections"] == 2, "the cell wins over the experiment's own load"


WRONG = {
    "syntax": (GOOD + "\nthis is not TOML", ["not valid TOML"]),
    "unknown key with a near name": (
        GOOD.replace("question", "qestion"), ["unknown key 'qestion'", "did you mean question?"]
    ),
    "missing key": (GOOD.replace("protocol", "arrival").replace('"echo"', '"constant"'), ["load.protocol", "expected"]),
    "missing table": (GOOD.split("[profiles")[0], ["missing key 'profiles'", "expected a table of profiles"]),
    "wrong type": (
        GOOD.replace("blocks = 2", 'blocks = "two"'),
        ["profiles.quick.blocks", "expected a whole number, 1 or more", '"two"'],
    ),
    "bad time": (GOOD.replace("5ms", "soon"), ["profiles.quick.duration", 'expected a time such as "500us"', '"soon"']),
    "unknown load option": (
        GOOD.replace("connections = 2", "conections = 2"),
        ["load", "unknown key 'conections'", "did you mean connections?"],
    ),
    "bad choice": (GOOD.replace('"open"', '"half-open"'), ["load.mode", "expected closed or open"]),
    "unknown grid option": (
        GOOD + "grid.rats = [1]\n", ["profiles.quick.grid", "unknown key 'rats'", "did you mean rate?"]
    ),
    "bad grid value": (
        GOOD.replace("[1000, 2000]", '[1000, "fast"]'),
        ["profiles.quick.grid", "rate", "expected a whole number", '"fast"'],
    ),
    "empty grid": (GOOD.replace("[1000, 2000]", "[]"), ["profiles.quick.grid.rate", "expected a list of values"]),
    "x outside the grid": (GOOD.replace('x = "rate"', 'x = "idle"'), ["x:", "profiles.quick.grid", "'idle'"]),
    "unknown metric": (GOOD.replace("p99_us", "p98_us"), ["metrics", "'p98_us'", "did you mean p99_us?"]),
    "open loop without a rate": (
        GOOD.replace("grid.rate", "grid.idle").replace('x = "rate"', 'x = "idle"'), ["load.rate", "load.mode is open"]
    ),
}


@pytest.mark.parametrize("text, words", WRONG.values(), ids=WRONG.keys())
def test_wrong_file_is_answered_with_file_key_and_expectation(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        experiment.load(path)
    message = str(caught.value)
    assert "wrong.toml" in message
    assert "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.exit_code == 2


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere.toml: no such experiment"):
        experiment.load(tmp_path / "nowhere.toml")
