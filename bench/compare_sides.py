"""The two sides of a comparison: what a word means, which servers a side has, and where both are put to be alike.

A word is WORK (the working tree), a build folder, a revision of the repository, or a contender (a model of this build,
a contender's name or file, a program).  Servers are copied to a scratch folder under equally long paths: the length of
argv[0] moves the stack, and what was read into memory at another time lies on other pages.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench import arms, contenders, host, paths, records, revisions
from bench.arms import Arm
from bench.errors import BenchError, UsageError
from bench.revisions import WORK, Revision

ALONE = "contender"  # the model's name where a side is one server
CORE = ("servers/core/", "Makefile")  # what every server is made of
SERVERS = ("servers/", "Makefile")
STANDS_FOR_ALL = "epoll_lt"
MOST_MODELS = 3


@dataclass(frozen=True)
class Side:
    """What is compared with what: a revision, a folder of builds, or one server."""

    letter: str
    word: str
    revision: Revision | None = None
    folder: Path | None = None
    arm: Arm | None = None

    @property
    def shown(self) -> str:
        return self.revision.shown if self.revision else self.word

    @property
    def kind(self) -> str:
        return "revision" if self.revision else "folder" if self.folder else "contender"

    def as_record(self) -> dict:
        kept = {"word": self.word, "kind": self.kind, "shown": self.shown}
        if self.revision:
            kept |= {"revision": self.revision.name, "left_out": list(self.revision.left_out)}
        return kept

    def pages(self) -> list[str]:
        """The models that this side has, built or to be built."""
        if self.arm:
            return [ALONE]
        if self.folder:
            return arms.model_names(self.folder / "servers")
        return sorted((Path(name).stem for name in pages_of(self.revision)), key=arms.sort_key)


def pages_of(revision: Revision) -> list[str]:
    if revision.is_work:
        listed = [name for name in revisions.files_of_work(revision.repository) if Path(name).parent == Path("servers")]
    else:
        listed = (revisions.git(revision.repository, "ls-tree", "--name-only", revision.name, "servers/") or "").split(
            "\n"
        )
    return [name for name in listed if name.endswith(".c")]


def recognised(letter: str, word: str, repository: Path) -> Side:
    """The side that a word names; one line says what it could have been."""
    path = Path(word)
    if word == WORK:
        return Side(letter, word, revision=revisions.resolve(WORK, repository))
    if (path / "servers").is_dir() and path.resolve() != repository.resolve():
        return Side(letter, word, folder=path.resolve())
    if path.is_dir() and word not in (".", ".."):
        raise UsageError(f"{word} is no build folder: it has no servers/; build one with: make BUILD={word}")
    if path.is_file():
        return Side(letter, word, arm=contenders.find(word if "/" in word else f"./{word}"))
    found = revisions.find(word, repository)
    if found:
        return Side(letter, word, revision=found)
    try:
        return Side(letter, word, arm=contenders.find(word))
    except BenchError as error:
        shallow = revisions.shallow(repository) if revisions.git(repository, "rev-parse", "--git-dir") else ""
        raise UsageError(f"{word!r} names no commit, build folder or contender: {error}{shallow}") from None


def refuse_records(words: Sequence[str]) -> None:
    """Runs that were recorded are not gated: nothing pairs their samples; between hosts not even ratios carry over."""
    runs = [
        Path(word) for word in words if any((Path(word) / name).is_file() for name in ("plan.json", "compare.json"))
    ]
    hosts = {records.read_json(run / "env.json")["fingerprint"] for run in runs if (run / "env.json").is_file()}
    if len(hosts) > 1:
        raise UsageError(
            f"{runs[0]} and {runs[1]} are of different hosts or settings (fingerprints {' and '.join(sorted(hosts))}); "
            "have both revisions measured in one run: python3 -m bench compare REVISION REVISION"
        )
    if runs:
        raise UsageError(
            f"{runs[0]} is a recorded run: two runs were measured at different times, so nothing pairs them; "
            "see how well they agree with: python3 -m bench agree RUN RUN, or keep them with: "
            "python3 -m bench history add RUN"
        )


def said_of(side: Side) -> str | None:
    """What of the working tree is not compared, for nobody should think that it was."""
    left_out = [name for name in side.revision.left_out if name.startswith(SERVERS)] if side.revision else []
    if not left_out:
        return None
    some = ", ".join(left_out[:3]) + (f" and {len(left_out) - 3} more" if len(left_out) > 3 else "")
    without = f"without what the working tree changed: {some} ({WORK} compares the working tree)"
    return f"{side.letter} is the commit {side.shown}, {without}"


# --- which models ----------------------------------------------------------------------------------------------------


def default_models(a: Side, b: Side) -> tuple[list[str], str | None]:
    """The models whose code may differ, and a line on what was left out."""
    if a.arm or b.arm:
        return ([ALONE], None)
    both = [name for name in a.pages() if name in b.pages()]
    lone = [f"only {side.letter} has {name}: not compared" for side in (a, b) for name in side.pages() if name not in both]
    if not both:
        return [], "; ".join(lone) or None
    touched = differing(a, b, both)
    if len(touched) > MOST_MODELS:
        stands = STANDS_FOR_ALL if STANDS_FOR_ALL in touched else touched[0]
        lone.append(f"{len(touched)} models may differ; {stands} stands for them (--models A,B measures others)")
        touched = [stands]
    return touched, "; ".join(lone) or None


def differing(a: Side, b: Side, both: Sequence[str]) -> list[str]:
    """By git where both sides are revisions, else by their machine code."""
    if a.folder and b.folder:
        return [name for name in both if code_of(a.folder / "servers" / name) != code_of(b.folder / "servers" / name)]
    if not (a.revision and b.revision):
        return list(both)
    words = [side.revision.name for side in (a, b) if not side.revision.is_work]
    changed = (revisions.git(a.revision.repository, "diff", "--name-only", *words) or "").split("\n") if words else []
    if a.revision.is_work or b.revision.is_work:
        changed += revisions.changed(a.revision.repository)
    if any(name.startswith(CORE) for name in changed):
        return list(both)
    return [name for name in both if {f"servers/{name}.c", f"servers/bpf/{name}.c"} & set(changed)]


# --- built and staged ------------------------------------------------------------------------------------------------


def built(side: Side, models: Sequence[str], stop: host.Stop | None = None) -> dict[str, Path | None]:
    """Each model's executable on this side; None where the side has no such model."""
    if side.arm:
        return {}
    pages = {name: name if "/" in name else f"servers/{name}" for name in models}
    folder = side.folder
    if side.revision:
        there = [page for name, page in pages.items() if "/" in name or name in side.pages()]
        try:
            folder = revisions.built(side.revision, there, stop=stop)
        except revisions.NoSuchTarget:  # a page of the lab that is not there: the others, one by one
            folder = revisions.folder_of(side.revision)
            for page in there:
                with suppress(revisions.NoSuchTarget):
                    revisions.built(side.revision, [page], stop=stop)
    return {name: folder / page if (folder / page).is_file() else None for name, page in pages.items()}


def code_of(path: Path) -> str:
    """A hash of what is loaded: without debugging information, which names source folders, and the build's id."""
    with tempfile.TemporaryDirectory(prefix="muxbench-") as scratch:
        bare = Path(scratch) / "bare"
        strip = ["objcopy", "--strip-all", "--remove-section=.note.gnu.build-id", str(path), str(bare)]
        try:
            done = subprocess.run(strip, capture_output=True).returncode == 0
        except OSError:
            done = False
        return hashlib.sha256((bare if done else path).read_bytes()).hexdigest()


def staged(executable: Path, stage: Path, side: str, name: str, twin: Path | None = None) -> Arm:
    """A copy under a path that is as long for both sides, as an arm; of one file a link to the other side's copy."""
    target = stage / side / "servers" / Path(name).name
    target.parent.mkdir(parents=True, exist_ok=True)
    if twin:
        os.link(twin, target)
    else:
        shutil.copy(executable, target)
    return arms.from_executable(target)


def staged_alone(side: Side, stage: Path, other: Side) -> Arm:
    """A contender: copied where it is one binary file, else started where it is (a script may read its neighbours)."""
    program = program_of(side)
    if side.arm.contender or len(side.arm.argv) != 1 or not program.is_file() or program.read_bytes()[:4] != b"\x7fELF":
        return side.arm
    copied = stage / other.letter.lower() / "servers" / ALONE
    twin = copied if copied.exists() and program.samefile(program_of(other)) else None
    return replace(staged(program, stage, side.letter.lower(), ALONE, twin), thesis=side.arm.thesis)


def program_of(side: Side) -> Path:
    """The first word of a contender's command, which may be a path from the root of this tree."""
    return paths.ROOT / side.arm.argv[0]
