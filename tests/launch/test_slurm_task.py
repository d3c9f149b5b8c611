"""What a job does on its nodes, on a small imitation of SLURM's commands."""

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hycam_exp.launch import slurm_queue
from hycam_exp.launch.slurm_queue import Need, Request
from hycam_exp.launch.slurm_task import ClusterJob
from tests.launch.test_local import FAIL, WRITE, names
from tests.slurm_cells import FIELDS, GATE, grid, job

pytestmark = pytest.mark.usefixtures("quick_slurm")


def test_a_preempted_job_goes_back_into_the_queue_and_runs_the_same_command(tmp_path: Path, fake_slurm: Path) -> None:
    """SLURM's signal ends the cell, the job is requeued under its number, and its second start finishes the cell."""
    marks = "open('%(folder)s/started', 'a').write('x')\n"
    cell = job(tmp_path, "a", marks + GATE + WRITE)
    first = grid(tmp_path, cell, wait=False)
    first.run_all()
    started = tmp_path / "started"
    while not started.is_file():
        time.sleep(0.02)
    subprocess.run(["scancel", "100", "--signal", "USR2"], check=True)
    while started.read_text() != "xx":
        time.sleep(0.02)
    (tmp_path / "go").touch()
    second = grid(tmp_path, job(tmp_path, "a", FAIL))
    second.run_all()
    assert names(second.skipped) == ["a"]
    assert len(list((fake_slurm / "scripts").iterdir())) == 1


ENDS_BY_ITSELF = """
import signal, sys, time
def end(number, frame):
    time.sleep(0.3)
    open('%(folder)s/ended', 'a').write(signal.Signals(number).name)
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
open('%(folder)s/started', 'a').write('x')
while True:
    time.sleep(0.02)
"""


@pytest.mark.parametrize("name", ["USR2", "TERM"])
def test_a_signal_lets_the_cell_end_by_itself(tmp_path: Path, fake_slurm: Path, name: str) -> None:
    """The cell has time to write its checkpoint: before the requeue that follows on SIGUSR2, and on SIGTERM, which
    submitit passes by and after which the job has not succeeded."""
    found = grid(tmp_path, job(tmp_path, "a", ENDS_BY_ITSELF), wait=False)
    found.run_all()
    while not (tmp_path / "started").is_file():
        time.sleep(0.02)
    subprocess.run(["scancel", "100", "--signal", name], check=True)
    ended = fake_slurm / ("requeue" if name == "USR2" else "state") / "100"
    while not ended.is_file():
        time.sleep(0.02)
    assert (tmp_path / "ended").read_text() == "SIGTERM"
    assert name == "USR2" or ended.read_text() == "FAILED"


def test_a_job_that_may_not_be_requeued_has_failed(tmp_path: Path, fake_slurm: Path) -> None:
    """Without requeue the same signal ends the job, and SLURM's word on it is the reason."""
    cell = job(tmp_path, "a", "open('%(folder)s/started', 'w')\n" + GATE + WRITE)
    grid(tmp_path, cell, wait=False, requeue=False).run_all()
    while not (tmp_path / "started").is_file():
        time.sleep(0.02)
    found = grid(tmp_path, job(tmp_path, "a", FAIL))
    queued = found._sort()[1]
    subprocess.run(["scancel", "100", "--signal", "USR2"], check=True)
    found._wait([], queued)
    assert [j.reason for j in found.failed] == [f"job 100: FAILED, see {cell.log}"]


def test_several_nodes_meet_at_the_first(tmp_path: Path, fake_slurm: Path) -> None:
    """One task on each of two nodes; each is told its number, and both the first node's name and one port."""
    cell = job(tmp_path, "a", WRITE, trainer="ddp", **{"trainer.num_nodes": 2})
    found = grid(tmp_path, cell, nodes=2)
    need = found._need(cell)
    assert need == Need(nodes=2, gpus=8, kind=None)
    asked = ClusterJob([sys.executable, "-m", "hycam_exp", "fold=1", "hydra.mode=RUN"], ".", "log", 8, True)
    commands = [asked.on_node(node, 2, ["host1", "host2"]) for node in (0, 1)]
    for node, told in enumerate(commands):
        assert told == [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=8", f"--node-rank={node}",
            "--master-addr=host1", "--master-port=20000", "-m", "hycam_exp", "fold=1", "hydra.mode=RUN",
        ]  # fmt: skip
    assert asked.on_node(0, 1, ["host1"]) == asked.command


RANK = """
import os, sys, torch.distributed as dist
dist.init_process_group("gloo")
everyone = [None] * dist.get_world_size()
dist.all_gather_object(everyone, (int(os.environ["GROUP_RANK"]), dist.get_rank(), "SLURM_NTASKS" in os.environ))
if dist.get_rank() == 0:
    open(sys.argv[1], "w").write(repr(sorted(everyone)))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_of_two_nodes_find_each_other(tmp_path: Path, fake_slurm: Path) -> None:
    """Two tasks of a real submitit job start two ranks each under torch's launcher, and all four gather."""
    (tmp_path / "rank.py").write_text(RANK)
    asked = ClusterJob(
        [sys.executable, "-m", "rank", str(tmp_path / "gathered")], str(tmp_path), str(tmp_path / "log"), 2, True
    )
    request = Request(**{k: v for k, v in FIELDS.items() if k not in ("nodes", "gpus_per_node", "wait")})
    (submission,) = replace(request, folder=str(tmp_path / "submitit")).submit([asked], Need(2, 0, None))
    while submission.job in (slurm_queue.states([submission]) or {}):
        time.sleep(0.1)
    assert (tmp_path / "gathered").read_text() == repr([(rank // 2, rank, False) for rank in range(4)])
