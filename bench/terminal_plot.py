"""One gnuplot picture per experiment, drawn in characters: for terminals, pipes and CI logs."""

import shutil
import subprocess
import tempfile

from bench import paths
from bench.table import number


def data(experiment: dict, metric: str) -> str:
    """One gnuplot index per arm: x, median; a blank pair of lines between arms."""
    blocks = []
    for arm in experiment["arms"]:
        lines = [f'"{arm}"']
        for cell in experiment["cells"]:
            value = (cell["arms"].get(arm) or {"values": {}})["values"].get(metric)
            if value:
                lines.append(f"{cell['params'][experiment['x']]} {value['median']}")
        blocks.append("\n".join(lines))
    return "\n\n\n".join(blocks) + "\n"


def draw(summary: dict, name: str, width: int = 100, height: int = 24) -> str | None:
    """The picture as text; None when gnuplot is missing or there is nothing to draw."""
    experiment = summary["experiments"][name]
    metric = experiment["metrics"][0]
    about = summary["metrics"][metric]
    xs = [cell["params"][experiment["x"]] for cell in experiment["cells"]]
    if not shutil.which("gnuplot") or len(experiment["arms"]) == 0 or not all(isinstance(x, int) for x in xs):
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".dat") as file:
        file.write(data(experiment, metric))
        file.flush()
        settings = {
            "file": file.name,
            "arms": len(experiment["arms"]),
            "width": width,
            "height": height,
            "title_text": f"{experiment['title']}",
            "x_text": experiment["x"],
            "y_text": f"{about['label']} [{about['unit']}]",
            "tics": ", ".join(f'"{number(x)}" {position(x)}' for x in xs),
        }
        script = paths.ROOT / "plots" / "terminal.gp"
        assign = "; ".join(f"{k}={v}" if isinstance(v, int) else f"{k}='{quote(v)}'" for k, v in settings.items())
        done = subprocess.run(["gnuplot", "-e", assign, str(script)], capture_output=True, text=True, timeout=20)
    return done.stdout.strip("\f\n") if done.returncode == 0 else None


def position(x: int) -> int:
    """Where a tic stands: a logarithmic axis begins at 1, so 0 is drawn there and labelled 0."""
    return max(x, 1)


def quote(text: str) -> str:
    return str(text).replace("'", "''")
