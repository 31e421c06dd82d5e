"""The first python3 may lack the distribution's packages: the bench moves to one that has them, and says so."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(python: list[str], path: str, **extra: str) -> subprocess.CompletedProcess:
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), **extra}
    return subprocess.run(
        [*python, "-m", "bench", "list", "metrics"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def wrapper(folder: Path, name: str, *words: str) -> str:
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    script.chmod(0o755)
    return str(script)


def test_moves_on_to_the_first_interpreter_that_has_everything(tmp_path: Path) -> None:
    good = wrapper(tmp_path / "good", "python3", sys.executable)
    poor = [sys.executable, "-S"]  # no site: no package of the distribution
    done = run(poor, str(tmp_path / "good"))
    assert done.returncode == 0, done.stderr
    assert f"using {good}" in done.stderr and "lacks numpy" in done.stderr
    assert "server_cpu_us_per_req" in done.stdout


def test_says_nothing_where_the_first_will_do() -> None:
    done = run([sys.executable], os.environ["PATH"])
    assert (done.returncode, done.stderr) == (0, "")


def test_one_line_and_no_loop_where_none_will_do() -> None:
    done = run([sys.executable, "-S"], "", MUXBENCH_REEXEC="already tried")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "bench/require.sh bench" in done.stderr
