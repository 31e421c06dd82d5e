"""Finds a Python that can run the bench layer, and moves there.

Some systems' first `python3` is a private build that lacks the distribution's
packages (numpy, rich ...).  Rather than fail there, `python3 -m bench` replaces
itself by the first interpreter that has them, and says which.

This module is read by the interpreter that lacks things, perhaps an old one:
it uses the standard library only and no recent syntax.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

NEEDED = ("numpy", "scipy", "matplotlib", "rich", "jsonschema", "jinja2")
OLDEST = (3, 11)  # tomllib
MARK = "MUXBENCH_REEXEC"  # set on the way over, so that a wrong guess cannot loop


def lacks_here():
    """What this interpreter lacks, as words; empty when it can run the bench."""
    if sys.version_info < OLDEST:
        return ["Python %d.%d" % OLDEST]
    return [name for name in NEEDED if find_spec(name) is None]


def candidates():
    """Every python3 on PATH, then the usual places, each real file once."""
    folders = os.environ.get("PATH", "").split(os.pathsep) + ["/usr/bin", "/usr/local/bin"]
    found = []
    for folder in folders:
        path = os.path.join(folder, "python3")
        if os.access(path, os.X_OK) and path not in found:
            found.append(path)
    return found


def can_run(python):
    probe = (
        "import sys; from importlib.util import find_spec as f; "
        "sys.exit(sys.version_info < %r or any(f(n) is None for n in %r))" % (OLDEST, NEEDED)
    )
    try:
        return subprocess.call(
            [python, "-c", probe], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20
        ) == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def ensure(module="bench"):
    """Returns if this interpreter will do; else continues in one that will, or exits with one line."""
    lacks = lacks_here()
    if not lacks:
        return
    if not os.environ.get(MARK):
        for python in candidates():
            if can_run(python):
                sys.stderr.write("%s: using %s (%s lacks %s)\n" % (module, python, sys.executable, ", ".join(lacks)))
                sys.stderr.flush()
                os.environ[MARK] = sys.executable
                os.execv(python, [python, "-m", module] + sys.argv[1:])
    sys.stderr.write("%s: no python3 here has all of %s; run: bench/require.sh bench\n" % (module, ", ".join(NEEDED)))
    sys.exit(1)
