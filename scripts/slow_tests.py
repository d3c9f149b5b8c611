"""The slow tests file by file, and what became of them in results/benchmarks/test_slow.json.

python -m scripts.slow_tests                        # all of them
python -m scripts.slow_tests tests/test_wheel.py    # these alone; the others' last results stay
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from hycam_exp.records.provenance import provenance
from hycam_exp.runtime.command_line import as_errors
from hycam_exp.runtime.files import write_atomically

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "benchmarks" / "test_slow.json"
LIMIT = 20 * 60  # seconds of one file
KILL_SECONDS = 30.0  # what stays longer hangs in the kernel, and is left there
COUNTED = ("passed", "failed", "error", "skipped")


def parts() -> list[str]:
    """The test files with slow tests, by name."""
    marked = re.compile(r"mark\.slow\b")
    found = (ROOT / "tests").rglob("test_*.py")
    return sorted(str(p.relative_to(ROOT)) for p in found if marked.search(p.read_text(encoding="utf-8")))


def counts(output: str) -> dict[str, int]:
    """How many tests passed, failed, broke and were skipped, from pytest's last line."""
    lines = output.strip().splitlines()
    found = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", lines[-1] if lines else "")}
    return {kind: found.get(kind, 0) for kind in COUNTED}


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End pytest with all that its tests have started, ranks and browsers, in groups of their own or not."""
    started = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    _await(started)


def _await(killed: list[psutil.Process]) -> None:
    """Until the kernel has ended them: the signal is sent before it is acted upon.

    `psutil.wait_procs` would wait for them to be reaped, which in a container without an init never comes.
    """
    end = time.monotonic() + KILL_SECONDS
    while time.monotonic() < end and any(_alive(process) for process in killed):
        time.sleep(0.01)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def run(part: str, limit: float = LIMIT) -> dict[str, Any]:
    """A file's slow tests: counts, exit status and seconds; past the limit it is stopped, and counts as failed."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-m", "slow", "--color=no", part]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        try:
            printed, status = process.communicate(timeout=limit)[0], process.returncode
        except subprocess.TimeoutExpired:
            _kill(process)
            stopped = f"\nstopped after {limit:.0f} s\n1 failed"
            printed, status = process.communicate()[0] + stopped.encode(), -1
        except BaseException:  # the terminal's own signal does not reach another session
            _kill(process)
            raise
    output = printed.decode(errors="replace")
    if status:
        print(output, flush=True)
    return {**counts(output), "status": status, "seconds": round(time.monotonic() - started, 1)}


def main(chosen: Sequence[str]) -> int:
    """Run the files, write their results, and say whether all passed."""
    known = parts()
    unknown = [part for part in chosen if part not in known]
    if unknown:
        sys.exit(as_errors(f"{unknown[0]}: no file with slow tests; there are {', '.join(known)}"))
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    kept = {part: row for part, row in results.get("parts", {}).items() if part in known}
    code, whole = provenance(), list(chosen) or known
    for number, part in enumerate(whole, start=1):
        row = run(part)
        kept[part] = {**row, "commit": code.commit, "dirty": code.dirty, "cpus": os.cpu_count()}
        said = ", ".join(f"{row[kind]} {kind}" for kind in COUNTED if row[kind])
        print(f"[{number}/{len(whole)}] {part}: {said} in {row['seconds']:.0f} s", flush=True)
        content = {"command": "make test-slow", "parts": dict(sorted(kept.items()))}
        write_atomically(RESULTS, (json.dumps(content, indent=1) + "\n").encode())
    return int(any(kept[part]["status"] for part in whole))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
