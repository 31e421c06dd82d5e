"""`python3 -m bench`: see bench/cli.py for the commands."""

import sys

from bench.interpreter import ensure

ensure()

from bench.cli import main  # noqa: E402  (only an interpreter that has everything may read on)

sys.exit(main(sys.argv[1:]))
