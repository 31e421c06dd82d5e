"""A revision as a build folder: its sources in a scratch folder that is removed, what make made of them in a cache.

`built("v1.2", ["servers/poll"])` is the folder that has `servers/poll` as that commit says.  The cache is
BUILD/revisions, named by commit, compiler and flags, so all its folders' names are equally long: a longer path would
move the stack of every process that is started from it.  `WORK` names the working tree as it stands, untracked files
included.
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import host, paths
from bench.errors import BenchError, Interrupted, UsageError

WORK = "WORK"
KEPT = 24  # builds that stay in the cache; each is a few MB
ASIDE = (":(exclude)results", ":(exclude)docs")  # what no build needs, and most of a checkout's size
FIRST_ERROR = re.compile(r"(\berror:|fatal error|undefined reference|\*\*\* )")


class DoesNotBuild(BenchError):
    """A revision that make cannot build: for a bisection nothing can be said of it."""


class NoSuchTarget(BenchError):
    """A revision whose Makefile has no rule for what was asked: the page is not there yet, or no longer."""


@dataclass(frozen=True)
class Revision:
    """What a word named: a commit, or the working tree."""

    word: str
    name: str  # the commit's hash; WORK- and a hash of the files for the working tree
    repository: Path
    left_out: tuple[str, ...] = ()  # files of the working tree that differ from the commit it is at

    @property
    def is_work(self) -> bool:
        return self.name.startswith(WORK)

    @property
    def shown(self) -> str:
        short = self.name[: len(WORK) + 9] if self.is_work else self.name[:12]
        return short if self.word in (self.name, WORK) else f"{self.word} ({short})"


def git(repository: Path, *words: str) -> str | None:
    """What git says; None when it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", repository, *words], capture_output=True, text=True, errors="surrogateescape"
        )
    except FileNotFoundError:
        raise BenchError("git is not installed; compare build folders instead") from None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def find(word: str, repository: Path = paths.ROOT) -> Revision | None:
    """The commit that a word names in a repository, or None; WORK is the working tree."""
    if git(repository, "rev-parse", "--git-dir") is None:
        return None
    if word == WORK:
        return Revision(WORK, f"{WORK}-{hash_of_work(repository)}", repository)
    name = git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}")
    if name is None:
        return None
    at_head = name == git(repository, "rev-parse", "HEAD")
    return Revision(word, name, repository, tuple(changed(repository)) if at_head else ())


def resolve(word: str, repository: Path = paths.ROOT) -> Revision:
    """The same, or one line on why there is none."""
    if git(repository, "rev-parse", "--git-dir") is None:
        raise UsageError(
            f"{paths.shown(repository)} is no git repository, so {word!r} names no revision; compare build folders"
        )
    found = find(word, repository)
    if found is None:
        raise UsageError(f"{word!r} names no commit in {paths.shown(repository)}{shallow(repository)}")
    return found


def shallow(repository: Path) -> str:
    """What to fetch where history was left out of a clone, as CI services do."""
    if git(repository, "rev-parse", "--is-shallow-repository") != "true":
        return ""
    return ": it is a shallow clone; run: git fetch --unshallow --tags (GitHub: fetch-depth: 0 at actions/checkout)"


def changed(repository: Path) -> list[str]:
    """Files of the working tree that its commit does not have so; untracked ones only where they are sources."""
    listed = git(repository, "status", "--porcelain", "-z", "--untracked-files=all", "--", ".", *ASIDE) or ""
    found, entries = [], iter(listed.split("\0"))
    for entry in entries:
        if len(entry) > 3 and (entry[:2] != "??" or entry.endswith((".c", ".h", "Makefile"))):
            found.append(entry[3:])
        if entry[:1] == "R":
            next(entries, None)  # a renamed file's old name
    return sorted(found)


def files_of_work(repository: Path) -> list[str]:
    top = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".", *ASIDE) or ""
    return sorted({name for name in top.split("\0") if name and (repository / name).is_file()})


def hash_of_work(repository: Path) -> str:
    total = hashlib.sha1()
    for name in files_of_work(repository):
        total.update(
            f"{name}\0{hashlib.sha1((repository / name).read_bytes()).hexdigest()}\n".encode(errors="surrogateescape")
        )
    return total.hexdigest()


# --- building --------------------------------------------------------------------------------------------------------


def cache() -> Path:
    return paths.build_dir() / "revisions"


def toolchain() -> str:
    """What of the environment bears on the machine code that comes out."""
    compiler = os.environ.get("CC", "cc")
    try:
        version = subprocess.run([*compiler.split(), "--version"], capture_output=True, text=True).stdout.partition(
            "\n"
        )[0]
    except OSError:
        version = "none"
    return "\n".join([compiler, version, *(os.environ.get(name, "") for name in ("CFLAGS", "CPPFLAGS", "LDFLAGS"))])


def folder_of(revision: Revision) -> Path:
    return cache() / hashlib.sha1(f"{revision.name}\n{toolchain()}".encode()).hexdigest()[:16]


def built(
    revision: Revision | str, targets: Sequence[str], repository: Path = paths.ROOT, stop: host.Stop | None = None
) -> Path:
    """The build folder in which these targets (`servers/poll`, `core.a`) are as the revision says.

    Raises DoesNotBuild with the first error and where the log is, NoSuchTarget for a page that is not there.
    """
    if isinstance(revision, str):
        revision = resolve(revision, repository)
    folder = folder_of(revision)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_suffix(".lock")):
        missing = [target for target in targets if not (folder / target).exists()]
        if missing:
            try:
                with sources(revision) as scratch:
                    make(revision, scratch, folder, missing, stop)
            except (Interrupted, KeyboardInterrupt):  # a compiler that was killed may leave half an object
                shutil.rmtree(folder, ignore_errors=True)
                raise
        os.utime(folder)
    prune(folder)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two builds of one revision wait for each other; the kernel lets go of the lock with its holder."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def sources(revision: Revision) -> Iterator[Path]:
    """The revision's files in a scratch folder, removed afterwards; every such folder's path is equally long."""
    with tempfile.TemporaryDirectory(prefix="muxbench-") as scratch:
        tree = Path(scratch) / "tree"
        tree.mkdir()
        if revision.is_work:
            for name in files_of_work(revision.repository):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(revision.repository / name, tree / name)
        else:
            unpack(revision, tree)
        yield tree


def unpack(revision: Revision, tree: Path) -> None:
    """`git archive`, which leaves no trace in the repository, as a worktree would; files get the commit's time."""
    archive = ["git", "-C", str(revision.repository), "archive", "--format=tar", revision.name, "--", ".", *ASIDE]
    with subprocess.Popen(archive, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as giving:
        taken = subprocess.run(["tar", "-x", "-C", tree], stdin=giving.stdout, capture_output=True, text=True)
        words = giving.stderr.read().decode(errors="replace").strip()
    if giving.returncode or taken.returncode:
        raise BenchError(
            f"{revision.shown} could not be unpacked: {words or taken.stderr.strip()}{shallow(revision.repository)}"
        )


def make(revision: Revision, tree: Path, folder: Path, targets: Sequence[str], stop: host.Stop | None) -> None:
    log = folder.with_suffix(".log")
    jobs = str(len(os.sched_getaffinity(0)))
    argv = [
        "make",
        "--no-print-directory",
        "-j",
        jobs,
        f"BUILD={folder}",
        *(str(folder / target) for target in targets),
    ]
    with open(log, "w") as out:
        status = patiently(argv, tree, out.fileno(), stop)
    text = log.read_text(errors="replace")
    for target in targets:
        if f"No rule to make target '{folder / target}'" in text:
            raise NoSuchTarget(f"{revision.shown} has no {target}")
    if status != 0:
        first = next((line.strip() for line in text.splitlines() if FIRST_ERROR.search(line)), None)
        last = (text.strip().splitlines() or ["make said nothing"])[-1]
        raise DoesNotBuild(f"{revision.shown} does not build: {first or last}; the whole log: {paths.shown(log)}")


def patiently(argv: Sequence[str], tree: Path, out: int, stop: host.Stop | None) -> int:
    """Runs make in a process group of its own, which ends with the wish to stop; its status."""
    dropped = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "BUILD")  # of a make that may have started us
    environment = {name: value for name, value in os.environ.items() if name not in dropped} | {"LC_ALL": "C"}
    process = subprocess.Popen(
        argv, cwd=tree, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
    )
    try:
        while True:
            try:
                return process.wait(0.05)
            except subprocess.TimeoutExpired:
                if stop:
                    stop.check()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def prune(used: Path) -> None:
    """Keeps the cache small: the builds that were used last stay."""
    kept = sorted((p for p in cache().iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime, reverse=True)[:KEPT]
    for folder in [p for p in cache().iterdir() if p.is_dir() and p not in kept and p != used]:
        shutil.rmtree(folder, ignore_errors=True)
        for beside in (folder.with_suffix(".log"), folder.with_suffix(".lock")):
            beside.unlink(missing_ok=True)
