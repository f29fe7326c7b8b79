import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from anomalycli.extraction.spool import Rows

IDENTITY = {"kind": "a", "source": [1, 2.5]}


def rows(n: int, start: int = 0) -> np.ndarray:
    return np.arange(start * 6, (start + n) * 6, dtype=np.float32).reshape(n, 2, 3)


def closed(path, n: int, identity=IDENTITY) -> None:
    made = Rows(path, identity)
    made.extend(rows(n))
    made._file.close()


def test_they_come_back_and_go_on(tmp_path):
    path = tmp_path / "folder" / "a.rows"
    closed(path, 3)
    again = Rows(path, IDENTITY)
    assert len(again) == 3
    again.extend(rows(2, start=3))
    assert np.array_equal(again.array(), rows(5))
    again.discard()
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("cut", [1, 23, 24, 25, 1000])
def test_what_is_not_whole_is_dropped(tmp_path, cut):
    path = tmp_path / "a.rows"
    closed(path, 3)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Rows(path, IDENTITY)
    n = max(0, 3 - -(-cut // 24))
    assert len(again) == n
    again.extend(rows(1, start=n))
    assert np.array_equal(again.array(), rows(n + 1))


def test_those_of_another_identity_are_dropped(tmp_path):
    path = tmp_path / "a.rows"
    closed(path, 3)
    other = Rows(path, IDENTITY | {"kind": "b"})
    assert len(other) == 0
    other.extend(np.ones((1, 4), np.float32))
    assert np.array_equal(other.array(), np.ones((1, 4)))


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9")
def test_those_that_another_process_is_at_are_its_own_until_it_is_killed(tmp_path):
    path = tmp_path / "a.rows"
    script = f"""import sys, time, numpy as np
from pathlib import Path
from anomalycli.extraction.spool import Rows
made = Rows(Path({str(path)!r}), {IDENTITY!r})
made.extend(np.ones((3, 2, 3), np.float32))
print("made", flush=True)
time.sleep(600)"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "made\n"
        mine = Rows(path, IDENTITY)
        assert (len(mine), mine.path) == (0, None)
        mine.extend(rows(1))
        mine.discard()
        os.kill(other.pid, signal.SIGKILL)
    after = Rows(path, IDENTITY)
    assert (len(after), after.path) == (3, path)


def test_without_a_path_they_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = Rows()
    made.extend(rows(2))
    made.extend(rows(2, start=2))
    assert np.array_equal(made.array(), rows(4))
    assert not list(tmp_path.iterdir())
    made.discard()
