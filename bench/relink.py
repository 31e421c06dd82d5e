"""The same program, linked in another order: what it does stays, where it lies in memory changes.

Where code lies decides which branches and cache lines collide, and moves a server's cost by a few per cent although
nobody changed it.  T. Mytkowicz, A. Diwan, M. Hauswirth, P. F. Sweeney, Producing wrong data without doing anything
obviously wrong, ASPLOS 2009.  So a slowdown counts only if it survives another order.
"""

import os
import random
import re
import subprocess
import tempfile
from pathlib import Path

from bench.errors import BenchError

MEMBER = re.compile(r"core\.a\(([^)]+\.o)\)")
NEEDED = re.compile(r"\(NEEDED\).*\[(.+?)\]")
ALWAYS = ("libc.so", "ld-linux", "libpthread")  # what the compiler links by itself


def relinked(build: Path, page: str, seed: int, out: Path) -> bool:
    """Links `servers/NAME` of a build folder anew into `out`; False where the folder keeps no objects of it.

    The order of objects depends on the seed and their names alone, so both sides of a comparison get the same.
    """
    folder, name = Path(page).parent.name, Path(page).name
    own, archive = build / f"{folder}.d" / f"{name}.o", build / "core.a"
    if not own.is_file() or not archive.is_file():
        return False
    libraries = libraries_of(build / page)
    with tempfile.TemporaryDirectory(prefix="muxbench-") as scratch:
        members = members_used(own, archive, libraries, Path(scratch))
        tool("ar", "x", str(archive), cwd=Path(scratch))
        objects = [str(own), *(str(Path(scratch) / member) for member in members)]
        gap = padding(Path(scratch), seed)
        tool(*compiler(), "-o", str(out), gap, *order(objects, seed), "-pthread", *libraries)
    return True


def order(objects: list[str], seed: int) -> list[str]:
    """Shuffled by name: never the order of the archive, and the page itself not first as usual."""
    by_name = sorted(objects, key=lambda path: Path(path).name)
    shuffled = random.Random(seed).sample(by_name, len(by_name))
    return shuffled if len(shuffled) < 2 or shuffled[0] != objects[0] else [*shuffled[1:], shuffled[0]]


def padding(scratch: Path, seed: int) -> str:
    """A few bytes of code in front that nobody calls, so that what follows lies on other lines of the cache."""
    source, made = scratch / "gap.s", scratch / "gap.o"
    skipped = 16 * random.Random(seed).randrange(1, 256, 2)  # never a whole number of cache lines of 64 or 32
    source.write_text(f'.text\n.p2align 4\n.skip {skipped}, 0x90\n.section .note.GNU-stack,"",@progbits\n')
    tool(*compiler(), "-c", "-o", str(made), str(source))
    return str(made)


def members_used(own: Path, archive: Path, libraries: list[str], scratch: Path) -> list[str]:
    """Which objects of the core this page pulls in, as the linker's map tells."""
    told = scratch / "map"
    tool(*compiler(), "-o", str(scratch / "trial"), str(own), str(archive), "-pthread", *libraries, f"-Wl,-Map={told}")
    return list(dict.fromkeys(MEMBER.findall(told.read_text())))


def libraries_of(program: Path) -> list[str]:
    """What it was linked with, from the program itself, so that no Makefile has to be understood."""
    found = NEEDED.findall(tool("readelf", "-d", str(program)))
    return [f"-l:{name}" for name in found if not name.startswith(ALWAYS)]


def compiler() -> list[str]:
    return os.environ.get("CC", "cc").split()


def tool(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, cwd=cwd, env={**os.environ, "LC_ALL": "C"}, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{argv[0]} does not run: {error}") from None
    if done.returncode != 0:
        raise BenchError(f"{argv[0]}: {(done.stderr.strip().splitlines() or ['failed'])[0]}")
    return done.stdout
