"""One gnuplot picture per experiment, drawn in characters: for terminals, pipes and CI logs."""

import math
import shutil
import subprocess
import tempfile

from bench import paths
from bench.units import number


def medians(experiment: dict, arm: str, metric: str) -> list[tuple[int, float]]:
    """(x, median) of an arm where it has one."""
    found = [
        (cell["x"], (cell["arms"].get(arm) or {"values": {}})["values"].get(metric))
        for cell in experiment["cells"]
    ]
    return [(x, value["median"]) for x, value in found if value and value["median"] is not None]


def data(experiment: dict, metric: str) -> str:
    """One gnuplot index per arm: name, then x and median; two blank lines between arms."""
    blocks = [
        "\n".join([f'"{arm}"'] + [f"{x} {median}" for x, median in medians(experiment, arm, metric)])
        for arm in experiment["arms"]
    ]
    return "\n\n\n".join(blocks) + "\n"


def draw(summary: dict, name: str, width: int = 100, height: int = 20) -> str | None:
    """The picture as text; None when gnuplot is missing or there is nothing to draw."""
    experiment = summary["experiments"][name]
    metric = experiment["metrics"][0]
    about = summary["metrics"][metric]
    drawn = {**experiment, "arms": [arm for arm in experiment["arms"] if medians(experiment, arm, metric)]}
    xs = [cell["x"] for cell in experiment["cells"]]
    if not shutil.which("gnuplot") or not drawn["arms"] or len(xs) < 2 or experiment["panels"]:
        return None
    values = [median for arm in drawn["arms"] for _, median in medians(experiment, arm, metric)]
    low, high = min(values), max(values)
    with tempfile.NamedTemporaryFile("w", suffix=".dat") as file:
        file.write(data(drawn, metric))
        file.flush()
        settings = {
            "file": file.name,
            "arms": len(drawn["arms"]),
            "width": width,
            "height": height,
            "title_text": f"{experiment['title']}",
            "x_text": experiment["x"],
            "y_text": f"{about['label']} [{about['unit']}]",
            "low": low / 1.3,
            "high": high * 1.3,
            "first": position(min(xs)) / 1.3,
            "last": position(max(xs)) * 1.3,
            "x_tics": ", ".join(f'"{number(x)}" {position(x)}' for x in xs),
            "y_tics": ", ".join(f'"{number(y)}" {y}' for y in round_values(low / 1.3, high * 1.3)),
        }
        return picture("terminal.gp", settings)


def picture(script: str, settings: dict) -> str | None:
    """What a gnuplot page of plots/ draws with these settings."""
    assign = "; ".join(f"{k}={v}" if isinstance(v, (int, float)) else f"{k}='{quote(v)}'" for k, v in settings.items())
    words = ["gnuplot", "-e", assign, str(paths.ROOT / "plots" / script)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    return done.stdout.strip("\f\n") if done.returncode == 0 else None


MOST_REVISIONS = 6  # names below a picture in characters


def draw_history(series: dict, width: int = 100, height: int = 18) -> str | None:
    """One series of a history (history.as_drawn) as text; None when gnuplot is missing."""
    points = series["points"]
    if not shutil.which("gnuplot"):
        return None
    names = [point["revision"] for point in points]
    begins = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    kept = begins[:: -(-len(begins) // MOST_REVISIONS)]
    ratios = [point["ratio"] for point in points]
    room = max(0.15 * (max(ratios) - min(ratios)), 0.02 * max(ratios))
    ends = [f"{level['from'] - 0.3} {level['mean']}\n{level['to'] - 0.7} {level['mean']}\n" for level in series["levels"]]
    with tempfile.NamedTemporaryFile("w", suffix=".dat") as file:
        file.write("".join(f"{i} {ratio}\n" for i, ratio in enumerate(ratios)) + "\n\n" + "\n".join(ends))
        file.flush()
        settings = {
            "file": file.name,
            "width": width,
            "height": height,
            "title_text": "; ".join([series["name"], *(change["says"] for change in series["changes"])]),
            "y_text": f"ratio to {series['place'][5]}",
            "low": min(ratios) - room,
            "high": max(ratios) + room,
            "last": len(points) - 0.5,
            "x_tics": ", ".join(f'"{names[i]}" {i}' for i in kept),
        }
        return picture("terminal_history.gp", settings)


def round_values(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten that lie between; the powers alone when there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 4 else (1,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]


def position(x: int) -> int:
    """Where a tic stands: a logarithmic axis begins at 1, so 0 is drawn there and labelled 0."""
    return max(x, 1)


def quote(text: str) -> str:
    return str(text).replace("'", "''")
