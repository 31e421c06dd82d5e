"""A throw-away repository whose servers are scripts with their cost written in them, and a host that reads it there."""

import os
import subprocess
import sys
from pathlib import Path

import simulated
from conftest import FAKES

from bench.arms import Arm
from bench.plan import Sample

MAKEFILE = """BUILD ?= build
$(BUILD)/servers/%: servers/%.c
	@mkdir -p $(@D)
	@! grep 'error:' $<
	@grep -q stalls $< && sleep 60 || true
	cp $< $@ && chmod +x $@
"""


class Repository:
    """A git repository with one commit after another."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "servers").mkdir(parents=True)
        (folder / "Makefile").write_text(MAKEFILE)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        names = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        settings = {**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null"}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, capture_output=True, text=True, check=True, env=settings
        )
        return done.stdout.strip()

    def write(self, more: str = "", name: str = "poll", **said: object) -> None:
        words = " ".join(f"{key}={value}" for key, value in said.items())
        server = (FAKES / "server.py").read_text().splitlines(keepends=True)[1:]
        (self.folder / "servers" / f"{name}.c").write_text(
            f"#!{sys.executable} -SE\n# {words}\n{more}" + "".join(server)
        )

    def commit(self, more: str = "", name: str = "poll", **said: object) -> str:
        self.write(more, name, **said)
        self.git("add", ".")
        self.git("commit", "-q", "--allow-empty", "-m", f"{said}")
        return self.git("rev-parse", "HEAD")


class Host(simulated.Host):
    """Costs are read from what was built and staged."""

    def __init__(self, noise: simulated.Noise):
        super().__init__(self.read, noise)

    @staticmethod
    def read(sample: Sample, arm: Arm) -> float:
        return 3.0 if sample.role == "control" else simulated.cost_in(Path(arm.argv[0]))


SCRIPT = """
import argparse, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
import simulated, tiny
from rich.console import Console
from bench import compare
from bench.errors import BenchError
parser = argparse.ArgumentParser()
compare.add_options(parser)
parser.add_argument("--results")
compare.env.collect = lambda: {{"schema": 1, "fingerprint": "simulated"}}
host = tiny.Host(simulated.independent(1))
def slowly(sample, arm):
    time.sleep({pause})
    return host(sample, arm)
try:
    sys.exit(compare.from_options(Console(width=200), parser.parse_args(), slowly))
except BenchError as error:
    print(f"bench: {{error}}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def script(path: Path, pause: float = 0.0) -> Path:
    """`python3 -m bench compare`, with a simulated host; `pause` makes it slow enough to be interrupted."""
    tests = Path(__file__).parent
    path.write_text(SCRIPT.format(root=str(tests.parents[1]), tests=str(tests), pause=pause))
    return path
