"""A house of fakes: a build folder with scripts for servers and load generator, and a way to call the bench on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKES = Path(__file__).parent / "fakes"
sys.path.insert(0, str(ROOT))

EXPERIMENT = """
title = "A test's experiment"
question = "Does the runner do what it should?"
x = "rate"
metrics = ["server_cpu_us_per_req", "p99_us"]

[arms]
models = "all"
reference = "epoll_lt"

[load]
protocol = "echo"
mode = "open"
connections = 2

[profiles.quick]
blocks = {blocks}
warmup = "1ms"
duration = "{duration}"
grid.rate = {rates}
"""


def install(script: Path, target: Path) -> None:
    """A copy that runs under this interpreter, without the site packages that make starting slow."""
    lines = script.read_text().splitlines(keepends=True)
    target.write_text(f"#!{sys.executable} -SE\n" + "".join(lines[1:]))
    target.chmod(0o755)


class House:
    """A build folder of fakes, a results folder, and `python3 -m bench` on both."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.build = folder / "build"
        self.results = folder / "results"
        (self.build / "servers").mkdir(parents=True)
        install(FAKES / "loadgen.py", self.build / "loadgen")

    def servers(self, *names: str) -> "House":
        for name in names:
            install(FAKES / "server.py", self.build / "servers" / name)
        return self

    def experiment(
        self,
        text: str | None = None,
        name: str = "test",
        blocks: int = 2,
        duration: str = "5ms",
        rates: str = "[1000, 2000]",
    ) -> str:
        path = self.folder / f"{name}.toml"
        path.write_text(text or EXPERIMENT.format(blocks=blocks, duration=duration, rates=rates))
        return str(path)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "bench", *words, "--results", str(self.results)]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BUILD": str(self.build),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
            "MUXBENCH_LOCK": str(self.folder),
        }

    def bench(self, *words: str, timeout: float = 180) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
            env=self.environment(),
        )

    def start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder, env=self.environment()
        )

    def run_folder(self) -> Path:
        runs = list(self.results.iterdir()) if self.results.is_dir() else []
        return max(runs, key=lambda p: p.stat().st_mtime_ns, default=self.results)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


class Inside:
    """`python3 -m bench` without a process of its own: for commands that measure nothing, or little."""

    def __init__(self, results: Path, capsys: pytest.CaptureFixture[str]):
        self.results, self.capsys = results, capsys

    def __call__(self, *words: str) -> subprocess.CompletedProcess:
        from bench import cli

        self.capsys.readouterr()
        code = cli.main([*words, "--results", str(self.results)])
        told = self.capsys.readouterr()
        return subprocess.CompletedProcess(words, code, told.out, told.err)


@pytest.fixture
def inside(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Inside:
    monkeypatch.setenv("MUXBENCH_LOCK", str(tmp_path))
    return Inside(tmp_path / "results", capsys)
