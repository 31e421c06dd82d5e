"""History: lines that add up to each run once, and change points with the error that was promised."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Inside
from rich.console import Console

from bench import changepoints, compare_plan, history, history_lines, records, terminal_plot
from bench.errors import UsageError
from plots import history as drawing

SAMPLE = ROOT / "results" / "sample"
NOISE = 0.03  # of a log ratio from run to run


# --- change points, simulated -----------------------------------------------------------------------------------------


def series(rng: np.random.Generator, runs: int, step_at: int | None = None, step: float = 1.1) -> np.ndarray:
    values = np.exp(rng.normal(0, NOISE, runs))
    if step_at is not None:
        values[step_at:] *= step
    return values


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_in_noise_a_change_is_found_as_often_as_was_promised(level: float) -> None:
    """400 series without a change: binomial with the nominal rate, within four standard deviations; heavy tails too."""
    rng = np.random.default_rng(20260101)
    found = 0
    for i in range(400):
        values = series(rng, 24) if i % 2 else np.exp(NOISE * rng.standard_t(2, 24))
        found += bool(changepoints.changes(values, level=level, shuffles=99, seed=i))
    spread = 4 * (400 * level * (1 - level)) ** 0.5
    assert abs(found - 400 * level) <= spread, f"{found} of 400"


def test_a_step_of_a_tenth_is_found_within_two_runs() -> None:
    rng = np.random.default_rng(20260102)
    places = []
    for i in range(60):
        found = changepoints.changes(series(rng, 30, step_at=18), seed=i)
        places.append(found[0].at if len(found) == 1 else -99)
    assert sum(abs(at - 18) <= 2 for at in places) >= 57, places


def test_its_size_and_direction_are_told() -> None:
    rng = np.random.default_rng(20260103)
    (down,) = changepoints.changes(series(rng, 40, step_at=20, step=0.8))
    assert down.at == 20 and 0.77 < down.ratio < 0.83 and down.p <= changepoints.LEVEL


def test_two_steps_are_two_changes_and_a_single_outlier_is_none() -> None:
    rng = np.random.default_rng(20260104)
    values = series(rng, 60, step_at=20)
    values[40:] *= 1.2
    found = changepoints.changes(values)
    assert [abs(change.at - at) <= 2 for change, at in zip(found, (20, 40), strict=True)] == [True, True]
    alone = series(rng, 30)
    alone[15] *= 1.5
    assert changepoints.changes(alone) == []


def test_few_runs_and_equal_runs_have_no_change() -> None:
    assert changepoints.changes([1.0, 1.0, 2.0, 2.0]) == []
    assert changepoints.changes([1.0] * 30) == []
    assert changepoints.changes([]) == []


def test_the_statistic_is_the_energy_distance_by_its_definition() -> None:
    x = np.random.default_rng(5).normal(size=9)
    quick = changepoints.statistics(np.abs(x[:, None] - x[None, :])[None])[0]
    for i, cut in enumerate(range(changepoints.LEAST, len(x) - changepoints.LEAST + 1)):
        left, right = x[:cut], x[cut:]
        n, m = len(left), len(right)
        within = [sum(abs(a - b) for a in s for b in s) / (len(s) * (len(s) - 1)) for s in (left, right)]
        between = sum(abs(a - b) for a in left for b in right)
        assert quick[i] == pytest.approx((2 * between / (n * m) - sum(within)) * n * m / (n + m))


# --- lines ------------------------------------------------------------------------------------------------------------


def test_a_run_adds_a_ratio_for_each_cell_arm_and_metric_and_only_once(tmp_path: Path) -> None:
    lines = history_lines.lines_of(SAMPLE)
    assert {line["reference"] for line in lines} == {"epoll_lt"} and not any(line["frozen"] for line in lines)
    assert all(line["arm"] != "epoll_lt" and line["ratio"] > 0 for line in lines)
    assert len({line["id"] for line in lines}) == len(lines)
    assert history.keep(tmp_path, lines) == (len(lines), 0)
    assert history.keep(tmp_path, lines) == (0, len(lines))
    assert history.keep(tmp_path, lines + lines) == (0, 2 * len(lines))


def test_the_reference_is_chosen_frozen_first_and_a_wrong_one_is_explained() -> None:
    experiment = {"arms": ["epoll_lt", "control", "poll"], "reference": "epoll_lt"}
    assert history_lines.reference_of("e", experiment, None) == "control"
    assert history_lines.reference_of("e", experiment, "poll") == "poll"
    assert history_lines.reference_of("e", {"arms": ["poll"], "reference": "poll"}, None) == "poll"
    with pytest.raises(UsageError, match="--reference"):
        history_lines.reference_of("e", {"arms": ["poll"], "reference": None}, None)
    with pytest.raises(UsageError, match="no arm 'nonsense' was measured"):
        history_lines.reference_of("e", experiment, "nonsense")


def comparison(folder: Path, b_over_a: float) -> Path:
    """A recorded comparison of two revisions of a project: eight quads, the control always at 100 µs."""
    folder.mkdir(parents=True)
    sides = {
        letter: {"kind": "contender", "word": f"./mine@{letter * 7}.toml", "shown": f"./mine@{letter * 7}.toml"}
        for letter in "AB"
    }
    contest = compare_plan.Contest("contender", "rate=10000", {"mode": "open"}, {}, {})
    plan = compare_plan.Plan(1, sides, [contest], {}, metrics=("p50_us",))
    records.write_json(folder / "compare.json", plan.as_record(records.SCHEMA))
    records.write_json(folder / "verdict.json", {"schema": 1, "verdict": "PASS"})
    shutil.copy(SAMPLE / "env.json", folder)
    latency_ns = {"A": 200_000.0, "B": 200_000.0 * b_over_a, "control": 100_000.0}
    lines = []
    for block in range(8):
        for place, arm in enumerate(("A", "B", "control", "B", "A")):
            told = {"schema": 1, "id": f"{block}/{place}", "cell": contest.key, "block": block, "arm": arm, "pass": 1}
            told |= {
                "role": "control" if arm == "control" else "arm",
                "status": "ok",
                "started": f"2026-01-0{block + 1}",
            }
            told |= {
                "options": {"mode": "open"},
                "load": {"latency_intended_ns": {"p50": latency_ns[arm] * (1 + block / 100)}},
            }
            lines.append(told)
    lines.append(lines[0] | {"id": "second pass", "pass": 2, "load": {"latency_intended_ns": {"p50": 1.0}}})
    (folder / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_comparison_adds_both_sides_against_its_frozen_control(tmp_path: Path) -> None:
    lines = history_lines.lines_of(comparison(tmp_path / "run", 1.1))
    assert [(line["arm"], line["revision"], line["side"]) for line in lines] == [
        ("mine", "AAAAAAA", "A"),
        ("mine", "BBBBBBB", "B"),
    ]
    assert [line["ratio"] for line in lines] == pytest.approx([2.0, 2.2]) and all(line["frozen"] for line in lines)
    assert len({line["id"] for line in lines}) == 2 and all(line["blocks"] == 8 for line in lines)
    history.keep(tmp_path / "history", lines)
    (series_found,) = history.read(tmp_path / "history")
    assert [history.revision_of(line) for line in series_found.lines] == ["AAAAAAA", "BBBBBBB"]


def test_half_a_quad_and_a_contaminated_comparison_add_nothing(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", 1.1)
    path = run / "samples.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    assert history_lines.lines_of(run) == []
    disturbed = comparison(tmp_path / "disturbed", 1.1)
    records.write_json(disturbed / "verdict.json", {"schema": 1, "verdict": "CONTAMINATED"})
    assert history_lines.lines_of(disturbed) == []


def runs_of(folder: Path, count: int, step_at: int, host: str = "host0", first: int = 0) -> list[dict]:
    """A made-up history: one arm that becomes a tenth dearer at a revision."""
    rng = np.random.default_rng(7)
    base = history_lines.lines_of(SAMPLE)[0]
    lines = []
    for i, ratio in enumerate(series(rng, count, step_at=step_at)):
        told = {
            "run": f"run-{host}-{first + i:03}",
            "when": f"2026-01-{1 + i // 24:02}T{i % 24:02}",
            "describe": f"abc{i // 2:03}",
        }
        line = (
            base
            | told
            | {
                "metric": "p99_us",
                "better": "lower",
                "fingerprint": host,
                "ratio": float(ratio),
                "low": ratio * 0.97,
                "high": ratio * 1.03,
            }
        )
        lines.append(line | {"id": history_lines.identity(told["run"], {})})
    history.keep(folder, lines)
    return lines


def test_folders_of_many_jobs_merge_into_each_line_once_in_any_order(inside: Inside) -> None:
    target = inside.results / history.FOLDER
    lines = runs_of(target, 6, step_at=6)
    for name, mine in (("job1", lines[:4]), ("job2", lines[2:])):
        history.keep(inside.results.parent / name / "deep", mine)
    runs_of(inside.results.parent / "job2", 3, step_at=3, host="host1", first=100)
    shutil.rmtree(target)
    for names in (("job2", "job1"), ("job1", "job2")):
        done = inside("history", "merge", *(str(inside.results.parent / name) for name in names))
        assert done.returncode == 0, done.stderr
    assert [s.place[0] for s in history.read(target)] == ["host0", "host1"]
    assert [line["run"] for line in history.read(target)[0].lines] == [line["run"] for line in lines]
    assert len((target / "host0.jsonl").read_text().splitlines()) == 6


def test_two_branches_of_a_repository_merge_by_union(tmp_path: Path) -> None:
    """What .gitattributes makes of two branches that both added runs: lines of both, some twice, and read once."""
    assert "results/history/*.jsonl merge=union" in (ROOT / ".gitattributes").read_text()
    lines = runs_of(tmp_path, 8, step_at=8)
    path = tmp_path / "host0.jsonl"
    written = path.read_text().splitlines(keepends=True)
    path.write_text("".join(written[4:] + written[:6]))
    assert [line["run"] for line in history.read(tmp_path)[0].lines] == [line["run"] for line in lines]


def test_the_command_adds_shows_and_charts(inside: Inside) -> None:
    run = inside.results / "20260101-000000-quick"
    shutil.copytree(SAMPLE, run, ignore=shutil.ignore_patterns("lab", "micro", "crosscheck", "derived"))
    added = inside("history", "add", run.name)
    assert added.returncode == 0 and ", 0 known already" in added.stdout, added.stderr
    again = inside("history", "add", run.name)
    assert " 0 lines added" in again.stdout
    runs_of(inside.results / history.FOLDER, 30, step_at=18)
    shown = inside("history", "show", "p99_us", "--fingerprint", "host0")
    assert shown.returncode == 0 and "(worse) from abc009 on" in shown.stdout, shown.stdout
    charted = inside(
        "history", "chart", "p99_us", "--fingerprint", "host0", "--to", str(inside.results.parent / "charts")
    )
    assert charted.returncode == 0, charted.stderr
    assert len(list((inside.results.parent / "charts").glob("host0-*.svg"))) == 1
    assert "(worse) from abc009 on" in charted.stdout and "runs, oldest first" in charted.stdout
    nothing = inside("history", "show", "nonsense")
    assert nothing.returncode == 2 and "no such series" in nothing.stderr


def test_a_folder_that_holds_no_history_is_refused_and_other_records_beside_one_are_passed_by(tmp_path: Path) -> None:
    console = Console(quiet=True)
    (tmp_path / "job" / "a-run").mkdir(parents=True)
    (tmp_path / "job" / "a-run" / "samples.jsonl").write_text('{"schema": 1, "id": "x"}\n')
    for other in ("job", "nowhere"):
        with pytest.raises(UsageError, match=f"{other}: no history below it"):
            history.merge(tmp_path / "target", [tmp_path / other], console)
    runs_of(tmp_path / "job" / "history", 3, step_at=3)
    history.merge(tmp_path / "target", [tmp_path / "job"], console)
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["host0.jsonl"]


# --- charts -----------------------------------------------------------------------------------------------------------


def test_the_figure_marks_revisions_levels_and_changes(tmp_path: Path) -> None:
    runs_of(tmp_path, 30, step_at=18)
    drawn = history.as_drawn(history.read(tmp_path)[0])
    figure = drawing.draw(drawn)
    figure.canvas.draw()
    axis = figure.axes[0]
    labels = [tick.get_text() for tick in axis.get_xticklabels()]
    assert labels[0] == "abc000" and 10 <= len(labels) <= drawing.MOST_LABELS
    assert [text.get_text() for text in axis.texts] == [change["says"] for change in drawn["changes"]] != []
    assert [level["from"] for level in drawn["levels"]] == [0, 18]
    page = figure.bbox
    for text in figure.texts:
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0, text.get_text()


def test_in_characters_the_change_is_named(tmp_path: Path) -> None:
    runs_of(tmp_path, 30, step_at=18)
    picture = terminal_plot.draw_history(history.as_drawn(history.read(tmp_path)[0]))
    if picture is None:
        pytest.skip("gnuplot is not here")
    assert "(worse) from abc009 on" in picture and "level" in picture and max(map(len, picture.splitlines())) <= 101


def test_half_a_line_is_no_line(tmp_path: Path) -> None:
    lines = runs_of(tmp_path, 3, step_at=3)
    with open(tmp_path / "host0.jsonl", "a") as file:
        file.write(json.dumps(lines[0])[:40])
    assert len(records.read_samples(tmp_path, "host0.jsonl")) == 3
    assert history.keep(tmp_path, lines) == (0, 3)
