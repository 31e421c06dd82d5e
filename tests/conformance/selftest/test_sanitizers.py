"""The sanitizers report on this host, through the environment the suite gives to servers: a silent one would pass
anything."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.model import command_prefix, environment, sanitizer_of  # noqa: E402
from harness.server import SANITIZER_REPORT  # noqa: E402

FAULTS = {
    "leak": ("address,undefined", "int main(void) { void *volatile p = malloc(100); p = 0; return p != 0; }"),
    "overflow": ("address,undefined", "int main(int n, char **v) { (void)v; char *p = malloc(8); p[8 * n] = 1;"
                                      "free(p); return 0; }"),
    "undefined": ("address,undefined", "int main(int n, char **v) { (void)v; return (0x7fffffff + n) == 0; }"),
    "race": ("thread", "int x; void *t(void *p) { x++; return p; }"
                       "int main(void) { pthread_t a; pthread_create(&a, 0, t, 0); x++; pthread_join(a, 0);"
                       "return 0; }"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported(tmp_path: Path, fault: str) -> None:
    compiler = os.environ.get("CC") or "cc"
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed: bench/require.sh build brings it")
    sanitize, text = FAULTS[fault]
    source, program = tmp_path / "fault.c", tmp_path / "fault"
    source.write_text(f"#include <pthread.h>\n#include <stdlib.h>\n{text}\n")
    flags = [f"-fsanitize={sanitize}", "-fno-sanitize-recover=all", "-g", "-O0", "-pthread"]
    subprocess.run([compiler, *flags, "-o", program, source],
                   check=True, capture_output=True)
    sanitizer = sanitizer_of(program)
    assert sanitizer == ("tsan" if fault == "race" else "asan")
    done = subprocess.run([*command_prefix(sanitizer), str(program)], env=environment(sanitizer), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode != 0, f"{fault} went unnoticed"
    assert SANITIZER_REPORT.search(done.stderr), f"{fault}: no report in {done.stderr!r}"
