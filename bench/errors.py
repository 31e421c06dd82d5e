"""What can go wrong, as three kinds with three exit codes (docs/exit-codes.md).

A message says what happened, where, and what to do next, in one line.
"""


class BenchError(Exception):
    """Something outside failed: a tool, a file, a server."""

    exit_code = 1


class UsageError(BenchError):
    """What was asked for is wrong: an option, a name, an experiment file."""

    exit_code = 2


class Interrupted(BenchError):
    """A signal ended the run; what was recorded stays and can be resumed."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number
