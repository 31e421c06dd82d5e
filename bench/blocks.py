"""The file that http's /file/N reads from: made for a run by the load generator, which then checks every block of it.

It lies in the run's folder, for that is on a disk (a folder in memory has no O_DIRECT, and would be measured as such),
and has no name: it is unlinked as soon as it is made, and servers open it through /proc.  So whatever ends the run,
even kill -9, gives its room back.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench import host, paths
from bench.errors import BenchError
from bench.plan import Sample

BLOCK_BYTES = 4096
MOST_BLOCKS = 65536  # 256 MiB, beyond what a disk's own cache holds, and soon written
WRITE_WITHIN_S = 300.0


@contextmanager
def made(
    samples: Sequence[Sample],
    folder: Path,
    loadgen: str,
    undertaker: host.Undertaker | None = None,
    stop: host.Stop | None = None,
) -> Iterator[dict[int, str]]:
    """A file for each size that the samples ask for: blocks -> the path that a server opens."""
    fds: dict[int, int] = {}
    try:
        for blocks in sorted({sample.server["file"] for sample in samples if "file" in sample.server}):
            fds[blocks] = make(folder / f"blocks-{blocks}", blocks, loadgen, undertaker, stop)
        yield {blocks: f"/proc/{os.getpid()}/fd/{fd}" for blocks, fd in fds.items()}
    finally:
        for fd in fds.values():
            os.close(fd)


def make(path: Path, blocks: int, loadgen: str, undertaker: host.Undertaker | None, stop: host.Stop | None) -> int:
    """A nameless file of so many blocks; its descriptor."""
    writer = host.Child(
        [loadgen, "make-file", str(path.resolve()), str(blocks)], sorted(os.sched_getaffinity(0)), undertaker
    )
    try:
        host.wait_any([writer], WRITE_WITHIN_S, stop)
        if not writer.ended() or writer.status != 0:
            where, room = paths.shown(path.parent), f"{blocks * BLOCK_BYTES / 2**20:.0f} MiB"
            raise BenchError(f"the file of {room} for this run could not be made in {where}: {writer.last_words()}")
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        writer.close()
        for left in (path, path.with_name(path.name + ".part")):
            left.unlink(missing_ok=True)


def resolved(sample: Sample, files: dict[int, str]) -> Sample:
    """The sample with the file's path for its number of blocks."""
    if "file" not in sample.server:
        return sample
    return replace(sample, server={**sample.server, "file": files[sample.server["file"]]})
