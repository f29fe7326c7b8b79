"""Reasons inside sentences."""

import av
import pytest

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
