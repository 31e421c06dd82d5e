"""`python3 -m bench gate --project DIR`: somebody else's server, in any language, gated as DIR/.muxbench.toml says.

The exact tier counts its system calls, against figures that the project has committed or against another revision of
it.  The timed tier hands two checkouts, both built as the file says, to `python3 -m bench compare`.  Checkouts are made
from git's files alone, in folders of equally long names; nothing is written to the project but the figures that
--update keeps.
"""

import argparse
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench import arms, checked, contenders, env, gate, paths, placement, revisions, runner
from bench.arms import Arm
from bench.errors import BenchError, UsageError
from bench.gate_report import conclude
from bench.gate_tier import Outcome, Tier
from bench.measure import Bed
from bench.revisions import WORK

FILE = ".muxbench.toml"
BUILD_WITHIN_S = 1800
WORST_FIRST = (2, 1, 10, 13, 12, 11, 3, 0)  # which of two exit codes is told


@dataclass(frozen=True)
class Project:
    """What .muxbench.toml says, and where it lies."""

    root: Path
    server: dict
    gate: dict

    @property
    def name(self) -> str:
        return self.server.get("name") or self.root.name

    @property
    def mode(self) -> str:
        return self.gate.get("mode", "exact")

    @property
    def baseline(self) -> Path:
        return self.root / self.gate.get("baseline", ".muxbench")


def load(folder: Path) -> Project:
    """A project's file, complained of by file and key."""
    if not folder.is_dir():
        raise UsageError(f"--project: {folder} is no folder")
    root = folder.resolve()
    told = checked.read(root / FILE, "project")
    contenders.check_words(told["server"]["command"], f"{paths.shown(root / FILE)}: server.command")
    return Project(root, told["server"], told.get("gate", {}))


def arm_of(project: Project, tree: Path) -> Arm:
    """The server as it stands in a tree; env(1) changes the folder and becomes the command."""
    told = project.server
    given = any("{port}" in word for word in told["command"])
    return Arm(
        name=project.name,
        argv=("env", "-C", str(tree), *told["command"]),
        source=str(project.root / FILE),
        sha256=arms.file_hash(project.root / FILE),
        thesis=told.get("thesis", project.name),
        protocols=tuple(told["protocols"]),
        clients_at_once=told.get("clients_at_once"),
        kind="contender",
        contender={"port": "given", "ready_line": told.get("ready_line")} if given else {},
    )


def toolchain(project: Project) -> dict[str, str | None]:
    """What a baseline is kept for: the compiler or interpreter that the project names, the C library, the machine."""
    words = project.server.get("version")
    version = None
    if words:
        said = in_tree(words, project.root, f"{FILE}: server.version")
        version = (said.strip().splitlines() or [None])[0]
    return {
        "compiler": version,
        "flags": None,
        "libc": env.libraries()["libc"],
        "architecture": platform.machine(),
        "isa": None,
    }


def in_tree(words: list[str], tree: Path, what: str) -> str:
    """Runs a command of the project; its output, or one line on how it failed."""
    try:
        done = subprocess.run(
            words, cwd=tree, capture_output=True, text=True, timeout=BUILD_WITHIN_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{what}: {' '.join(words)} does not run: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise BenchError(f"{what}: {' '.join(words)} ended with status {done.returncode}: {last}")
    return done.stdout or done.stderr


def build(project: Project, tree: Path) -> None:
    if project.server.get("build"):
        in_tree(project.server["build"], tree, f"{FILE}: server.build")


@contextmanager
def checkout(project: Project, word: str) -> Iterator[Path]:
    """A revision's files, or with WORK the working tree's, built, in a folder whose path is as long as any other's."""
    if word != WORK:
        revisions.resolve(word, project.root)
    with TemporaryDirectory(prefix="muxbench-") as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        if word == WORK:
            for name in work_files(project.root):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(project.root / name, tree / name, follow_symlinks=False)
        else:
            archive = subprocess.run(
                ["git", "-C", project.root, "archive", "--format=tar", word, "."], capture_output=True
            )
            taken = subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, capture_output=True)
            if archive.returncode or taken.returncode:
                said = (archive.stderr or taken.stderr).decode(errors="replace").strip()
                raise BenchError(f"{word} could not be unpacked: {said}")
        build(project, tree)
        yield tree


def work_files(root: Path) -> list[str]:
    listed = revisions.git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    if listed is None:
        raise UsageError(f"{paths.shown(root)} is no git repository, and the timed tier compares revisions")
    return sorted({name for name in listed.split("\0") if name and (root / name).is_file()})


# --- gating -----------------------------------------------------------------------------------------------------------


def run_gate(options: argparse.Namespace, console: Console) -> int:
    project = load(Path(options.project))
    if options.models or options.only:
        given = " ".join(options.models) or "--only"
        raise UsageError(f"--project gates the server of its file, by its system calls: leave out {given}")
    mode = options.mode or project.mode
    if mode != "exact" and not options.against and not options.update:
        raise UsageError(f"{FILE}: gate.mode is {mode}: name what it is compared with by --against REV")
    codes = []
    if mode in ("exact", "both"):
        codes.append(exactly(project, options, console))
    if mode in ("timed", "both") and options.against:
        codes.append(timed(project, options, console))
    return min(codes, key=WORST_FIRST.index) if codes else 0


def exactly(project: Project, options: argparse.Namespace, console: Console) -> int:
    """The server's system calls per request, as it stands in its folder."""
    begun = time.monotonic()
    outcome = Outcome()
    kinds = gate.possible(("calls",), outcome)
    build(project, project.root)
    chain = toolchain(project)
    folder = Path(options.ratchet).resolve() if options.ratchet else project.baseline
    arm = arm_of(project, project.root)
    cases = gate.cases_of(options) or tuple(project.gate.get("cases", ())) or None
    with runner.alone(options.together), runner.buried() as undertaker:
        bed = Bed(str(paths.build_dir() / "loadgen"), placement.place(), undertaker)
        tier = Tier(bed, kinds, cases, outcome, lambda line: console.print(line, style="dim", highlight=False))
        before = (
            of_revision(project, options.against, tier) if options.against else gate.committed(chain, outcome, folder)
        )
        tier.measure([arm], gate.ROUNDS if options.update else 1)
        tier.judge(before, {arm.name: arm}, chosen=False, strict=options.strict)
    return conclude(outcome, chain, options, console, begun, folder)


def of_revision(project: Project, word: str, tier: Tier) -> dict[str, dict]:
    with checkout(project, word) as tree:
        found = tier.of_arm(arm_of(project, tree), 1)
    tier.outcome.baseline = f"revision {word}"
    return {project.name: {"figures": found.figures, "libraries": {}}}


def timed(project: Project, options: argparse.Namespace, console: Console) -> int:
    """Both checkouts as contenders, to the comparison of all servers, which calls them NAME@REVISION."""
    from bench import cli

    results = paths.results_dir(options.results)
    sides = (
        (options.against, name_of(project.root, options.against)),
        (WORK, name_of(project.root, "HEAD", "--dirty")),
    )
    if sides[0][1] == sides[1][1]:
        raise UsageError(f"--against {options.against} is what the working tree is ({sides[0][1]}): nothing to compare")
    with ExitStack() as stack:
        scratch = stack.enter_context(TemporaryDirectory(prefix="muxbench-"))
        files = []
        for word, revision in sides:
            tree = stack.enter_context(checkout(project, word))
            files.append(f"./{project.name}@{revision}.toml")
            Path(scratch, files[-1]).write_text(as_contender(project, tree))
        words = ["compare", *files, *(["--cells", *project.gate["cells"]] if "cells" in project.gate else [])]
        words += ["--margin", f"{100 * project.gate['margin']:g}"] if "margin" in project.gate else []
        words += ["--together"] if options.together else []
        stack.enter_context(chdir(scratch))
        return cli.main([*words, "--results", str(results)])


def name_of(root: Path, word: str, *options: str) -> str:
    """A commit's short name; the working tree's has `-dirty` where it differs."""
    if options:
        return revisions.git(root, "describe", "--always", "--exclude=*", *options) or WORK
    return revisions.git(root, "rev-parse", "--short", f"{word}^{{commit}}") or word


def as_contender(project: Project, tree: Path) -> str:
    """A contender file (docs/adding-a-server.md); JSON's strings, numbers and lists are TOML's, too."""
    told = {key: project.server[key] for key in ("ready_line", "clients_at_once", "protocols") if key in project.server}
    told |= {
        "thesis": project.server.get("thesis", project.name),
        "command": ["env", "-C", str(tree), *project.server["command"]],
    }
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in told.items())
