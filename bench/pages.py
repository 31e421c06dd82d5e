"""What a model's page, servers/NAME.c, says of itself in its opening comment: the directory is the registry.

A page may say so without being built: what its library lacks here does not hide it.

The line on system calls has a form that a test reads, up to its first full stop:

    Per request, one connection at a time: epoll_wait, futex 3 times (why), recv, send.
    Per request, one connection at a time: recv... (as often as it finds nothing), send.
    Per request, one connection at a time: none.

Items stand between commas: a call's name as the C library or the kernel has it; how often, when not once; why, in
brackets.  Three dots after a name say that its number depends on time: at least once, and no more is promised.  A model
whose requests never reach it says `none`.

A model that keeps more than 512 bytes for a silent connection says what, `Per idle connection: a thread and its stack.`
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench import paths
from bench.arms import sort_key
from bench.errors import BenchError

PAGES = paths.ROOT / "servers"
# The kernel's name of what the C library calls otherwise; strace prints the kernel's.
KERNEL_NAMES = {
    "recv": "recvfrom",
    "send": "sendto",
    "pselect": "pselect6",
    "sigtimedwait": "rt_sigtimedwait",
    "sigwaitinfo": "rt_sigtimedwait",
    "pread": "pread64",
    "pwrite": "pwrite64",
}
TIMES = {"": 1, "once": 1, "twice": 2, "thrice": 3}
ITEM = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)(?P<open>\.\.\.)?(?: (?:(?P<word>once|twice|thrice)|(?P<number>\d+) times))?"
)
PER_CONNECTION = re.compile(r"Per idle connection: (.+?)\.(?: |$)", re.MULTILINE)
PER_REQUEST = re.compile(r"Per request, one connection at a time: (.+?)\.(?: |$)")


@dataclass(frozen=True)
class Calls:
    """System calls of one request: how often each exactly, and which as often as time has it."""

    exact: dict[str, int]
    open_ended: frozenset[str]


@dataclass(frozen=True)
class Page:
    name: str
    thesis: str
    comment: str  # the opening comment as running text
    libraries: tuple[str, ...]  # pkg-config modules, and what the linker knows alone, as -lNAME

    @property
    def keeps(self) -> str | None:
        """What it holds for a silent connection beyond a small struct, in its own words."""
        found = PER_CONNECTION.search(self.comment)
        return found[1] if found else None

    @property
    def calls(self) -> Calls:
        return calls_of(self.comment, self.name)


def names(folder: Path = PAGES) -> list[str]:
    return sorted((path.stem for path in folder.glob("*.c")), key=sort_key)


def read(name: str, folder: Path = PAGES) -> Page:
    source = (folder / f"{name}.c").read_text()
    comment = source[: source.index("*/")]
    modules, plain = (words_after(mark, comment) for mark in ("pkg-config: ", "libraries: "))
    return Page(name, thesis_of(source, name), running_text(comment), (*modules, *(f"-l{word}" for word in plain)))


def words_after(mark: str, comment: str) -> list[str]:
    found = re.search(mark + r"([^*\n]*)", comment)
    return found[1].split() if found else []


def running_text(comment: str) -> str:
    """The comment's words without its stars, a paragraph per line."""
    lines = [re.sub(r"^\s*/?\*+ ?", "", line).strip() for line in comment.splitlines()]
    return "\n".join(" ".join(part.split("\n")) for part in "\n".join(lines).split("\n\n")).strip()


def thesis_of(source: str, name: str) -> str:
    """The initialiser `.thesis = "..." "...",` of the page's struct model."""
    found = re.search(r'\.thesis\s*=\s*((?:"(?:[^"\\]|\\.)*"\s*)+),', source)
    if not found:
        raise BenchError(f"servers/{name}.c has no .thesis; docs/adding-a-server.md says what a page needs")
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))


def calls_of(comment: str, name: str) -> Calls:
    """The page's own count of system calls per request."""
    where = f"servers/{name}.c: Per request, one connection at a time"
    without_why = re.sub(r"\s*\([^)]*\)", "", comment)
    found = PER_REQUEST.search(without_why.replace("...", "…"))  # so that the first full stop is one
    if not found:
        raise BenchError(f"{where}: the opening comment has no such line; docs/adding-a-server.md has its form")
    exact: dict[str, int] = {}
    open_ended = set()
    if found[1] == "none":
        return Calls(exact, frozenset())
    for text in re.split(r",? and |, ", found[1].replace("…", "...")):
        item = ITEM.fullmatch(text.strip())
        if not item:
            raise BenchError(f"{where}: {text.strip()!r} is not of the form `name`, `name twice` or `name 3 times`")
        call = KERNEL_NAMES.get(item["name"], item["name"])
        if item["open"]:
            open_ended.add(call)
        else:
            exact[call] = exact.get(call, 0) + (int(item["number"]) if item["number"] else TIMES[item["word"] or ""])
    return Calls(exact, frozenset(open_ended))


def missing_libraries(page: Page) -> list[str]:
    """The page's libraries that pkg-config, or the compiler where that has no word for them, does not find here."""
    clang = os.environ.get("CLANG", "clang")  # compiles what runs in the kernel
    half = [clang] if (PAGES / "bpf" / f"{page.name}.c").exists() and not shutil.which(clang) else []
    return [library for library in page.libraries if not is_here(library)] + half


def is_here(library: str) -> bool:
    plain = library.startswith("-l")
    compiler = os.environ.get("CC", "cc")
    asked = [compiler, f"-print-file-name=lib{library[2:]}.so"] if plain else ["pkg-config", "--exists", library]
    try:
        done = subprocess.run(asked, capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and (not plain or "/" in done.stdout)  # a path, or the bare name back
