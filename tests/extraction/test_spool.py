import json
import os
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest

from anomalycli.extraction.spool import Rows

IDENTITY = {"kind": {"name": "a", "groups": (("mean", 3), ("max", 3))}, "source": [1, 2.5]}
RECORD = 2 * 3 * 4 + 4  # bytes of a row and its checksum


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


def test_what_is_mapped_may_be_written_to_and_the_file_stays(tmp_path):
    made = Rows(tmp_path / "a.rows", IDENTITY)
    made.extend(rows(3))
    before = (tmp_path / "a.rows").read_bytes()
    made.array()[:] = 0
    assert (tmp_path / "a.rows").read_bytes() == before


@pytest.mark.parametrize("cut", [1, RECORD - 1, RECORD, RECORD + 1, 1000])
def test_what_is_not_whole_is_dropped(tmp_path, cut):
    path = tmp_path / "a.rows"
    closed(path, 3)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Rows(path, IDENTITY)
    n = max(0, 3 - -(-cut // RECORD))
    assert len(again) == n
    again.extend(rows(1, start=n))
    assert np.array_equal(again.array(), rows(n + 1))


def flipped(content: bytes) -> bytes:
    at = len(content) - 2 * RECORD + 5  # in the second of three rows
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def zeroed(content: bytes) -> bytes:
    return content[: -2 * RECORD] + bytes(2 * RECORD)


def swapped(content: bytes) -> bytes:
    return content[: -2 * RECORD] + content[-RECORD:] + content[-2 * RECORD : -RECORD]


def not_finite(content: bytes) -> bytes:
    row = np.full((2, 3), np.nan, np.float32).tobytes()
    return content[: -2 * RECORD] + row + zlib.crc32(row, 2).to_bytes(4, "little") + content[-RECORD:]


@pytest.mark.parametrize("damage", [flipped, zeroed, swapped, not_finite])
def test_rows_from_a_wrong_one_on_are_dropped(tmp_path, damage):
    path = tmp_path / "a.rows"
    closed(path, 3)
    path.write_bytes(damage(path.read_bytes()))
    again = Rows(path, IDENTITY)
    assert len(again) == 1
    again.extend(rows(2, start=1))
    assert np.array_equal(again.array(), rows(3))


def test_zeros_are_no_rows(tmp_path):
    path = tmp_path / "a.rows"
    closed(path, 1)
    path.write_bytes(path.read_bytes()[:-RECORD] + bytes(50 * RECORD))
    assert len(Rows(path, IDENTITY)) == 0


@pytest.mark.parametrize("shape", [[10**9], [2, 0], [-1, 3], [2.5], ["2"], [], None, {"a": 1}, [2, 3, 4, 5], [[2]]])
def test_a_head_that_lies_is_no_head(tmp_path, shape):
    path = tmp_path / "a.rows"
    head = json.dumps({"of": IDENTITY, "shape": shape}).encode()
    path.write_bytes(head + b" " * (-(len(head) + 1) % 64) + b"\n" + bytes(1000))
    again = Rows(path, IDENTITY)
    assert len(again) == 0
    again.extend(rows(2))
    assert np.array_equal(again.array(), rows(2))


def test_those_of_another_identity_or_width_are_dropped(tmp_path):
    path = tmp_path / "a.rows"
    for identity, width in ((IDENTITY | {"kind": "b"}, 3), (IDENTITY, 4)):
        closed(path, 3)
        other = Rows(path, identity, width)
        assert len(other) == 0
        other.extend(np.ones((1, 4), np.float32))
        assert np.array_equal(other.array(), np.ones((1, 4)))
        other._file.close()


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
