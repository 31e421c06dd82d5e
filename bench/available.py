"""Whether this host can run a model: its library, its build, and its own word, which is exit 77 and a reason."""

import os
from dataclasses import dataclass

from bench import arms, host, pages, paths, serve


@dataclass(frozen=True)
class Model:
    """A page of servers/, built or not."""

    name: str
    thesis: str
    arm: arms.Arm | None  # None: not built
    here: str  # "ok", or why not


def every() -> list[Model]:
    """Each page in the readers' order; and whatever else lies in the build folder."""
    built = arms.model_names()
    names = sorted({*pages.names(), *built}, key=arms.sort_key)
    return [look(name, name in built) for name in names]


def look(name: str, built: bool) -> Model:
    page = pages.read(name) if name in pages.names() else None
    if built:
        arm = arms.models([name])[0]
        return Model(name, arm.thesis, arm, tried(arm))
    lacks = pages.missing_libraries(page)
    why = (
        f"left out: this host has no {' '.join(lacks)}"
        if lacks
        else f"not in {paths.shown(paths.build_dir())}: run make"
    )
    return Model(name, page.thesis, None, why)


def tried(arm: arms.Arm) -> str:
    """Starts it and stops it: what it says is better known than what a table of needs could tell."""
    protocol = arm.protocols[0] if arm.protocols else "echo"
    server = host.Child(serve.launch(arm, protocol, {}).argv, sorted(os.sched_getaffinity(0)))
    try:
        serve.wait_ready(server)
        return "ok" if server.stop() else "runs, but does not end on SIGTERM"
    except serve.Unavailable as why:
        return f"cannot run here: {why}"
    except serve.Failed as why:
        return f"fails: {why}: {server.last_words()}"
    finally:
        server.close()
