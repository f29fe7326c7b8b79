"""Runs of a comparison in processes beside this one."""

import importlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from anomalycli.data.bags import load_bags
from anomalycli.errors import AnomalyError, UsageError
from anomalycli.experiments.workers import in_processes
from anomalycli.training.trainer import TrainingData

JOBS = """
import os, signal
from anomalycli.errors import UsageError

def job(data, run, on_step):
    if run == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if run == "fails":
        raise UsageError("it cannot be", "lr")
    if run == "breaks":
        raise ValueError("a defect")
    on_step(7)
    data.bags.x[0] = run  # seen by nobody else
    return run, data.bags.x[1:].tobytes()
"""


def test_what_becomes_of_each_run(make_features, tmp_path, monkeypatch):
    (tmp_path / "jobs_of_workers.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)  # of this process, and so of those that it starts
    job = importlib.import_module("jobs_of_workers").job
    data, steps = TrainingData(load_bags(make_features(), 8)), []
    before = data.bags.x.copy()
    runs = [3, "dies", "fails", "breaks", 4]
    outcomes = {
        number: (result, error)
        for number, result, error in in_processes(job, data, runs, 2, lambda *now: steps.append(now))
    }
    expected = before[1:].tobytes()
    assert outcomes[0] == ((3, expected), None) and outcomes[4] == ((4, expected), None)
    assert isinstance(outcomes[1][1], AnomalyError) and "ended (signal 9)" in str(outcomes[1][1])
    assert isinstance(outcomes[2][1], UsageError) and outcomes[2][1].settings == ("lr",)
    assert "ValueError: a defect" in str(outcomes[3][1])
    assert np.array_equal(data.bags.x, before) and steps[0] == (0, 7)


SCRIPT = """
import sys, time
from pathlib import Path
from anomalycli.data.bags import load_bags
from anomalycli.experiments.workers import in_processes
from anomalycli.training.trainer import TrainingData

def job(data, run, on_step):
    import os
    on_step(os.getpid())
    time.sleep(600)

if __name__ == "__main__":
    data = TrainingData(load_bags(sys.argv[1], 8))
    for _ in in_processes(job, data, [1], 1, lambda number, pid: print(pid, flush=True)):
        pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(make_features, tmp_path, end):
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, "script.py", str(make_features())]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(end)
        parent.wait(60)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}/cmdline").exists() and Path(f"/proc/{worker}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.05)
