"""Small copies that browsers play: their times are those of the video, and they are made once."""

from pathlib import Path

import av
import numpy as np
import pytest
from helpers import result_of

from anomalycli.export.outputs import Outputs, score_inputs
from anomalycli.export.proxies import kept_frames
from anomalycli.inputs import find_inputs

SPANS = [(250, 275), (600, 625)]


class Canned:
    """Stands in for a scorer."""

    def score(self, path, *_, **others):
        return result_of(SPANS, 750, 25, str(path))

    @property
    def extractor(self):
        return None


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Thirty seconds of MPEG-4 in AVI, which browsers do not play."""
    path = tmp_path_factory.mktemp("camera") / "hall.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(750):
            picture = np.full((48, 64, 3), number % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return path


def run(film, out, kind):
    (scored,) = score_inputs(find_inputs([film], {".avi", ".mp4"}), Canned(), Outputs(out, ["html"], proxy=kind))
    assert not scored.failure
    return out / "hall.proxy.mp4"


def times(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        return np.array([frame.time for frame in container.decode(video=0)])


def test_a_copy_of_the_events_has_their_frames_and_their_times(film, tmp_path):
    found = times(run(film, tmp_path, "events"))
    for start, end in kept_frames(result_of(SPANS, 750, 25)):
        inside = found[(found > start / 25 - 0.02) & (found < (end - 1) / 25 + 0.02)]
        np.testing.assert_allclose(inside, np.arange(start, end) / 25, atol=1e-3)
    assert (start, end) == (500, 675)  # four seconds before, two behind
    assert np.diff(found).max() <= 5.1 and found[-1] == pytest.approx(749 / 25, abs=1e-3)
    assert len(found) < 400


def test_a_copy_of_all_is_made_once(film, tmp_path):
    path = run(film, tmp_path, "all")
    assert len(times(path)) == 750
    before = path.stat().st_mtime_ns
    assert run(film, tmp_path, "all").stat().st_mtime_ns == before
    assert len(times(run(film, tmp_path, "events"))) < 400
    assert len(times(run(film, tmp_path, "all"))) == 750


def test_copies_are_not_scored_as_videos(film):
    outputs = Outputs(film.parent, ["html"], proxy="events")
    for _ in range(2):
        made = score_inputs(find_inputs([film.parent], {".avi", ".mp4"}), Canned(), outputs)
        assert [item.path.name for item in made.inputs] == ["hall.avi"]
        list(made)
    assert any("a copy of one" in note for note in made.notes)


def test_the_page_plays_the_copy(browser, film, tmp_path):
    run(film, tmp_path, "events")
    browser.get_log("browser")
    browser.get((tmp_path / "hall.html").as_uri())
    playing = "const done = arguments[0], look = () => (video.readyState >= 2 ? done([video.duration, video.error]) : "
    duration, error = browser.execute_async_script(playing + "setTimeout(look, 20)); look()")
    assert error is None and duration == pytest.approx(30, abs=0.2)
    assert browser.find_element("id", "video").get_attribute("src").endswith("/hall.proxy.mp4")
    assert browser.find_element("id", "unplayable").get_attribute("hidden")
