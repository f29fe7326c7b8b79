"""Reasons inside sentences."""

import tempfile

import av
import pytest

from anomalycli.cli import sentence
from anomalycli.errors import cause


def test_a_reason_of_the_system_or_of_ffmpeg_has_no_number_and_no_path(tmp_path):
    path = tmp_path / "no.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(av.error.FFmpegError) as told:
        av.open(str(path))
    assert cause(told.value) == "invalid data found when processing input"
    with pytest.raises(OSError) as told:
        (tmp_path / "gone").read_bytes()
    assert cause(told.value) == "no such file or directory"
    assert cause(OSError(5, "I/O error")) == "I/O error"


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("a\nb"), "ValueError: a"), (KeyError("x"), "KeyError: 'x'"), (EOFError(), "EOFError")],
)
def test_other_exceptions_have_their_type_and_first_line(error, told):
    assert cause(error) == told


def test_a_machine_without_a_place_for_temporary_files_is_told_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "missing")])
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.gettempdir()
    assert "in the variable TMPDIR" in sentence(caught.value)
