"""Times and CPU lists as people write them: `100us`, `1ms`, `2s`, a bare number is seconds; `0,2-3`."""

import re
from collections.abc import Iterable

TIME = re.compile(r"^(\d+(?:\.\d+)?)(ns|us|ms|s)?$")
NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, None: 1_000_000_000}


def parse_time_ns(text: str | int | float) -> int:
    """Nanoseconds of a time as it is written everywhere in muxbench."""
    found = TIME.match(str(text))
    if not found:
        raise ValueError(f"expected a time such as 100us, 1ms or 2s, got {text!r}")
    return round(float(found[1]) * NANOSECONDS[found[2]])


def value_of(parameter: int | float | str) -> float:
    """A parameter of a cell as a place on an axis: 50 for "50%", microseconds for a time."""
    if not isinstance(parameter, str):
        return parameter
    if parameter.endswith("%"):
        return float(parameter[:-1])
    return parse_time_ns(parameter) / 1e3


def label(parameter: int | float | str) -> str:
    """The same for people."""
    return parameter if isinstance(parameter, str) else number(parameter)


def parse_cpus(text: str) -> tuple[int, ...]:
    """The CPUs of a list such as `0,2-3`, in order, each once."""
    cpus: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"expected CPUs such as 0,2-3, got {text!r}")
        cpus += range(int(first), int(last if dash else first) + 1)
    return tuple(dict.fromkeys(cpus))


def format_cpus(cpus: Iterable[int]) -> str:
    """`0,2-3` of a set of CPUs."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def format_seconds(seconds: float) -> str:
    """A span of time for people: `48 s`, `2 min 05 s`, `1 h 12 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number(value: float) -> str:
    """Three significant digits, with a k for thousands: 5.42, 118, 79.8k; whole numbers stay as written."""
    if value >= (1_000_000 if isinstance(value, int) else 10_000):
        return f"{value / 1000:.3g}k" if value < 1_000_000 else f"{value / 1e6:.3g}M"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def nearest(wrong: str, valid: Iterable[str]) -> str:
    """` (did you mean X?)` for a mistyped name, or the valid names when none is near."""
    import difflib

    names = sorted(valid)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]}?)"
    return f" (there are: {', '.join(names)})" if names else ""
