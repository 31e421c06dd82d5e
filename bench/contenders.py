"""Contenders: servers that are not ours, described by a file each, measured like any model."""

from pathlib import Path

from bench import arms, checked, paths
from bench.arms import Arm
from bench.errors import UsageError
from bench.units import nearest


def files() -> list[Path]:
    return sorted(paths.CONTENDERS.glob("*.toml"))


def load(path: Path) -> Arm:
    """An arm from a contender file; the hash that is kept is the file's."""
    told = checked.read(path, "contender")
    command = told["command"]
    follows_contract = not any("{port}" in word for word in command)
    check_words(command, f"{paths.shown(path)}: command")
    return Arm(
        name=path.stem,
        argv=tuple(command),
        source=paths.from_root(path),
        sha256=arms.file_hash(path),
        thesis=told["thesis"],
        protocols=tuple(told["protocols"]),
        clients_at_once=told.get("clients_at_once"),
        kind="contender",
        contender={} if follows_contract else {"port": "given", "ready_line": told.get("ready_line")},
    )


def check_words(command: list[str], where: str) -> None:
    """Raises for braces that nothing will fill."""
    for word in command:
        try:
            word.format(port=0, protocol="")
        except (KeyError, IndexError, ValueError):
            raise UsageError(f"{where}: expected no braces but {{port}} and {{protocol}}, got {word!r}") from None


def find(name: str) -> Arm:
    """What a word on the command line means: a model, lab/PAGE, a contender's name or file, or a program's path."""
    folder = paths.build_dir() / "lab"
    built, lab = arms.model_names(), [f"lab/{page}" for page in arms.model_names(folder)]
    if name in built:
        return arms.models([name])[0]
    if name in lab:
        return arms.models([Path(name).name], folder)[0]
    path = Path(name)
    if path.suffix == ".toml":
        return load(path)
    if "/" in name:
        if not path.is_file():
            raise UsageError(f"{name}: no such program{nearest(name, lab)}")
        return arms.from_executable(path.resolve(), kind="contender")
    known = {p.stem: p for p in files()}
    if name in known:
        return load(known[name])
    raise UsageError(f"no model or contender {name!r}{nearest(name, [*built, *lab, *known])}")
