"""SLURM in small, on one machine: `python fake_slurm.py COMMAND ...` does what sbatch, srun, squeue and others would.

Everything lies in $FAKE_SLURM: scripts/ID.sh as sbatch was given it, live/JOB with the process of a job that is queued
or running, tasks/JOB with the processes of its tasks, requeue/JOB where scontrol asked for it, state/JOB at its end.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ["FAKE_SLURM"])
LARGEST_ARRAY = 7


def note(kind: str, name: str, content: str = "") -> Path:
    path = ROOT / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def lives(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.is_file() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def option(script: str, name: str) -> str | None:
    found = re.search(rf"^#SBATCH --{name}=(.*)$", script, flags=re.MULTILINE)
    return found[1].strip("'") if found else None


def sbatch(path: str) -> None:
    script = Path(path).read_text()
    if (ROOT / "refuse").is_file():
        sys.exit((ROOT / "refuse").read_text())
    number = str(100 + len(list((ROOT / "scripts").glob("*"))))
    copy = note("scripts", f"{number}.sh", script)
    array = option(script, "array")
    count = int(array.split("%")[0].split("-")[1]) + 1 if array else 1
    nodes = option(script, "nodes") or "1"
    for index in range(count):
        name = f"{number}_{index}" if array else number
        inner = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(index)} if array else {}
        job = {"SLURM_JOB_ID": str(int(number) * 10 + index) if array else number, "SLURM_JOB_NUM_NODES": nodes}
        hosts = {"SLURM_NTASKS": nodes, "SLURM_JOB_NODELIST": ",".join(["localhost"] * int(nodes))}
        process = subprocess.Popen(
            [sys.executable, __file__, "start", name, str(copy)], env={**os.environ, **inner, **job, **hosts},
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        note("live", name, str(process.pid))
    print(f"Submitted batch job {number}")


def start(name: str, path: str) -> None:
    """A job until it ends without having been put back into the queue."""
    for restarts in range(5):
        (ROOT / "requeue" / name).unlink(missing_ok=True)
        counted = {**os.environ, "SLURM_RESTART_COUNT": str(restarts), "FAKE_JOB": name}
        number, _, index = name.partition("_")
        errors = Path(
            (option(Path(path).read_text(), "error") or os.devnull).replace("%A", number).replace("%a", index)
        )
        errors = Path(str(errors).replace("%j", name))
        errors.parent.mkdir(parents=True, exist_ok=True)
        with errors.open("a") as stream:
            status = subprocess.run(["bash", path], env=counted, stderr=stream).returncode
        if not (ROOT / "requeue" / name).is_file():
            break
    note("state", name, "COMPLETED" if status == 0 else "FAILED")


def srun(*arguments: str) -> None:
    words, files, rest = list(arguments), {}, []
    while words:
        word = words.pop(0)
        if word in ("--output", "--error"):
            files[word] = words.pop(0)
        elif word != "--unbuffered":
            rest = [word, *words]
            break
    ids = {"%j": os.environ["SLURM_JOB_ID"], "%A": os.environ.get("SLURM_ARRAY_JOB_ID", ""),
           "%a": os.environ.get("SLURM_ARRAY_TASK_ID", "")}  # fmt: skip
    tasks = []
    for node in range(int(os.environ["SLURM_JOB_NUM_NODES"])):
        streams = []
        for name in ("--output", "--error"):
            path = files[name].replace("%t", str(node))
            for pattern, value in ids.items():
                path = path.replace(pattern, value)
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            streams.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        own = {**os.environ, "SLURM_PROCID": str(node), "SLURM_NODEID": str(node), "SLURM_LOCALID": "0"}
        tasks.append(subprocess.Popen(rest, env=own, stdout=streams[0], stderr=streams[1]))
    note("tasks", os.environ["FAKE_JOB"], " ".join(str(task.pid) for task in tasks))
    sys.exit(max(abs(task.wait()) for task in tasks))


def squeue(*arguments: str) -> None:
    asked = next(a.split("=")[1].split(",") for a in arguments if a.startswith("--jobs="))
    known = {path.name: int(path.read_text()) for path in (ROOT / "live").glob("*")}
    mine = {name: pid for name, pid in known.items() if name.split("_")[0] in asked}
    if not mine:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    for name, pid in mine.items():
        if lives(pid):
            told = ROOT / "reason" / name
            print(f"{name}|PENDING|{told.read_text()}" if told.is_file() else f"{name}|RUNNING|None")


def sinfo(*_: str) -> None:
    """sinfo --Node --noheader --format=%R|%c|%m|%l"""
    print("gpu|64|512000|2-00:00:00\ncpu|16|65536|infinite")


def sacct(*arguments: str) -> None:
    name = next(a.split("=")[1] for a in arguments if a.startswith("--jobs="))
    path = ROOT / "state" / name
    print(path.read_text() if path.is_file() else "")


def scontrol(command: str, name: str) -> None:
    if command == "show":
        print(f"MaxArraySize            = {LARGEST_ARRAY}")
    else:
        note("requeue", name)


def scancel(job: str, _: str, name: str) -> None:
    """scancel JOB --signal NAME"""
    for process in (ROOT / "tasks" / job).read_text().split():
        os.kill(int(process), getattr(signal, f"SIG{name}"))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
