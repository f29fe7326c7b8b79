import json
from pathlib import Path

import pytest

from anomalycli.extraction.run_report import ExtractionOutcome, RunReport, Shard


def run(folder: Path, shard: Shard, name: str) -> list[str]:
    """Write the report of a part of a run; returns what was noted."""
    notes: list[str] = []
    with RunReport(folder, shard, notes.append) as report:
        report.add(ExtractionOutcome(Path(name), "done", frames=50, seconds=2.0))
    return notes


def test_the_reports_of_all_parts_become_one(tmp_path):
    assert run(tmp_path, Shard(1, 2), "a.mp4") == []
    assert not (tmp_path / "report.json").exists()
    assert run(tmp_path, Shard(2, 2), "b.mp4") == []
    whole = json.loads((tmp_path / "report.json").read_text())
    assert [file["path"] for file in whole["files"]] == ["a.mp4", "b.mp4"]
    assert (whole["counts"]["done"], whole["video_seconds"], whole["complete"]) == (2, 4.0, True)


FILE = {"path": "a.mp4", "status": "done", "seconds": 1.0}
GOOD = {"files": [FILE], "wall_seconds": 1.0, "complete": True}
DAMAGED = {
    "nothing": "",
    "half": '{"files": [{"path": "a.mp',
    "list": "[]",
    "deep": "[" * 100_000,
    "no files": json.dumps({key: GOOD[key] for key in ("wall_seconds", "complete")}),
    "other files": json.dumps(GOOD | {"files": ["a.mp4"]}),
    "no status": json.dumps(GOOD | {"files": [FILE | {"status": "lost"}]}),
    "no seconds": json.dumps(GOOD | {"files": [FILE | {"seconds": "1"}]}),
    "no number": json.dumps(GOOD | {"wall_seconds": float("nan")}),
    "bytes": b"\xff\xfe\x00\x80",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_report_of_another_part_is_named_and_costs_nothing(tmp_path, damage):
    other, content = tmp_path / "report.1-of-2.json", DAMAGED[damage]
    other.write_bytes(content if isinstance(content, bytes) else content.encode())
    (note,) = run(tmp_path, Shard(2, 2), "b.mp4")
    assert "report.1-of-2.json: not a report of extraction" in note
    assert json.loads((tmp_path / "report.2-of-2.json").read_text())["counts"]["done"] == 1
    assert not (tmp_path / "report.json").exists()
    run(tmp_path, Shard(1, 2), "a.mp4")
    assert json.loads((tmp_path / "report.json").read_text())["counts"]["done"] == 2
