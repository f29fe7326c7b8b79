"""Plots: what is drawn can be read back from the file."""

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import av
import matplotlib
import matplotlib.image
import numpy as np
import pytest
from helpers import plot_result, result_of, write_video

from anomalycli.export.base import write_output
from anomalycli.export.envelope import min_max, sparkline
from anomalycli.export.lettering import lettered
from anomalycli.export.plot import Curve, curve_of, curve_of_frames, plot_sheet, sheet_of


def test_the_suffix_chooses_the_format(tmp_path):
    result = result_of([(10, 35)], 100, 25)
    plot_result(result, tmp_path / "a.png")
    plot_result(result, tmp_path / "a.svg")
    plot_result(result, tmp_path / "a.pdf")
    assert matplotlib.image.imread(tmp_path / "a.png").shape[1] > 1000
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_an_svg_is_described_for_screen_readers(tmp_path):
    plot_result(result_of([(10, 35)], 100, 25, "a <b> & c.mp4"), tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    svg = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.find(f"{svg}title").text == "a <b> & c.mp4   1 event"
    assert root.find(f"{svg}desc").text == (
        "Anomaly score from 0 to 1 over 0:04, highest 0.90 at 0:01. Events: 0:00 to 0:01."
    )


def test_pictures_are_equal_between_runs(tmp_path):
    program = (
        "import sys, time; sys.path[:0] = [sys.argv[2]]\n"
        "from pathlib import Path\n"
        "from helpers import plot_result, result_of\n"
        "for kind in ('png', 'svg', 'pdf'):\n"
        "    plot_result(result_of([(10, 35)], 100, 25), Path(sys.argv[1] + '.' + kind))\n"
    )
    for name, seed in (("a", "1"), ("b", "2")):
        words = [sys.executable, "-c", program, tmp_path / name, Path(__file__).parents[1]]
        subprocess.run(words, check=True, env=os.environ | {"PYTHONHASHSEED": seed})
        time.sleep(1.1)  # a second is what times in files are made of
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes(), kind


@pytest.mark.parametrize("level", [0, 1])
def test_a_flat_curve_is_seen(tmp_path, level):
    flat = Curve("flat", np.array([0.0]), np.array([level]), np.array([level]), 10.0)
    plot_sheet([flat], tmp_path / "flat.png")
    picture = matplotlib.image.imread(tmp_path / "flat.png")[..., :3]
    blue = np.abs(picture - np.array([0x25, 0x63, 0xA8]) / 255).max(2) < 0.1
    assert blue.any(0).sum() > 0.7 * picture.shape[1]  # along the whole axis
    assert blue.sum(0).max() >= 3  # not half of it cut off


def test_ground_truth_is_drawn_where_it_lies(tmp_path):
    result = result_of([(10, 35)], 100, 25)
    plot_result(result, tmp_path / "without.png")
    plot_result(result, tmp_path / "with.png", truth=[(50, 100)])
    green = np.array([0x15, 0x80, 0x3D]) / 255

    def columns(path):
        picture = matplotlib.image.imread(path)[..., :3]
        return np.flatnonzero((np.abs(picture - green).max(2) < 0.01).sum(0) > 12)

    assert len(columns(tmp_path / "without.png")) == 0
    half = columns(tmp_path / "with.png")
    plot_result(result, tmp_path / "whole.png", truth=[(0, 100)])
    whole = columns(tmp_path / "whole.png")
    assert half.max() == whole.max()
    assert np.ptp(half) == pytest.approx(np.ptp(whole) / 2, abs=2)


def test_glimpses_come_from_the_video(tmp_path):
    """Frames are yellow, from the peak's on: only a picture of that very frame or a later one brings the colour in."""
    yellow = (230, 200, 0)
    for name, colour, drawn in (("yellow", yellow, True), ("grey", (90, 90, 90), False)):
        film = tmp_path / f"{name}.mp4"
        write_colours(film, [(90, 90, 90)] * 22 + [colour] * 78)
        plot_result(result_of([(10, 35)], 100, 25, str(film)), tmp_path / f"{name}.png", film)
        picture = matplotlib.image.imread(tmp_path / f"{name}.png")[..., :3]
        near = np.abs(picture - np.array(yellow) / 255).max(2) < 0.08
        assert bool(near.sum() > 1000) is drawn


def write_colours(path, colours) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            picture = np.full((64, 64, 3), colour, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def test_glimpses_stand_above_their_peaks_as_far_as_others_let_them(tmp_path):
    film = write_video(tmp_path / "film.mp4", list(range(0, 16_000, 40)), size=64)  # greys, as high as wide
    calm = result_of([], 400, 25, str(film))
    calm.scores[380] = 0.4
    plot_result(calm, tmp_path / "calm.png", film)
    late = result_of([(i, i + 13) for i in range(300, 400, 20)], 400, 25, str(film))
    plot_result(late, tmp_path / "late.png", film)

    def pictures(name: str) -> np.ndarray:
        """Columns, as shares of the width, in which the frames of glimpses stand upright."""
        picture = matplotlib.image.imread(tmp_path / name)[: 600 * 2 // 5, :, :3]
        colours = (np.array([0x8A, 0x97, 0xA3]), np.array([0xE4, 0x57, 0x2E]))
        frames = [(np.abs(picture - colour / 255).max(2) < 0.05).sum(0) > 60 for colour in colours]
        return np.flatnonzero(frames[0] | frames[1]) / picture.shape[1]

    assert 0.75 < pictures("calm.png").min() < pictures("calm.png").max() < 0.95
    late = pictures("late.png")
    assert (np.diff(late) > 0.05).sum() >= 5 and late.min() > 0.1 and late.max() < 0.95  # five, side by side


def test_a_sheet_grows_with_its_videos(tmp_path):
    results = [result_of([(10, 35)], 100, 25, f"$x_{i}$.mp4") for i in range(5)]
    plot_sheet([curve_of(results[0], [(5, 9)]), curve_of(results[1])], tmp_path / "two.png")
    plot_sheet([curve_of(result) for result in results], tmp_path / "five.png")
    heights = [matplotlib.image.imread(tmp_path / name).shape[0] for name in ("two.png", "five.png")]
    assert heights[1] > 2 * heights[0]


def test_a_sheet_is_in_the_order_of_names_and_shares_its_axis_when_asked(tmp_path):
    curves = [Curve(name, np.arange(9.0), np.zeros(9), np.ones(9), length) for name, length in (("v10", 9), ("v2", 90))]
    plot_sheet(curves, tmp_path / "own.svg")
    plot_sheet(curves, tmp_path / "shared.svg", shared=True)

    def texts(name: str) -> list[str]:
        return [text.text for text in ElementTree.parse(tmp_path / name).iter("{http://www.w3.org/2000/svg}text")]

    titles = [text for text in texts("own.svg") if text.startswith("v")]
    assert titles == ["v2", "v10"]
    assert texts("own.svg").count("1:30") == 1 and texts("shared.svg").count("1:30") == 2


def test_a_curve_over_frames_has_its_truth_in_frames():
    truth = np.zeros(5000, bool)
    truth[100:200] = truth[4000:] = True
    curve = curve_of_frames("x", np.linspace(0, 1, 5000, dtype=np.float32), truth)
    assert curve.truth == [(100, 200), (4000, 5000)]
    assert curve.length == 5000 and curve.high.max() == 1 and len(curve.begin) == 2000


def test_no_peak_is_lost_in_a_long_curve():
    scores = np.zeros(180_000, np.float32)
    scores[123_457] = 1
    starts, low, high = min_max(scores, 300)
    assert len(starts) == 300 and high.max() == 1 and low.max() == 0
    assert starts[high.argmax()] <= 123_457 < starts[high.argmax() + 1]
    line = sparkline(scores, 30)
    assert len(line) == 30 and line.count("█") == 1 and line.count("▁") == 29
    assert sparkline(np.array([0, 0.5, 1]), 30) == "▁▅█"


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture_is_equal_byte_for_byte_and_has_a_title(tmp_path, kind):
    result = result_of([(10, 35)], 100, 25, "gate 7.mp4")
    first, second = (write_output(result, tmp_path / name, kind).read_bytes() for name in "ab")
    assert first == second
    assert b"gate 7.mp4" in first or "gate 7.mp4".encode("utf-16-be") in first


def test_text_of_an_svg_is_text_and_a_pdf_has_truetype_fonts(tmp_path):
    result = result_of([(10, 35)], 100, 25, "gate 7.mp4")
    root = ElementTree.parse(write_output(result, tmp_path / "a", "svg")).getroot()
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"gate 7.mp4   1 event", "anomaly score"} <= texts
    assert next(root.iter("{http://www.w3.org/2000/svg}title")).text == "gate 7.mp4   1 event"
    with matplotlib.rc_context({"pdf.compression": 0}):
        content = write_output(result, tmp_path / "a", "pdf").read_bytes()
    assert b"/Subtype /Type3" not in content and b"/FontFile2" in content


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", ["監視カメラ.mp4", "Überwachung ß.mp4", "кaмepa مراقبة.mp4", "a\udcff\x1b[31m\n.mp4", "🎥.mp4"]
)
def test_titles_in_any_script_are_drawn_without_a_warning(tmp_path, name):
    for kind in ("png", "pdf", "svg"):
        assert write_output(result_of([(10, 35)], 100, 25, name), tmp_path / "a", kind).stat().st_size > 5000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["x" * 251, "監視" * 40, "🎥 " * 80, "a" * 60 + "/" + "b" * 60])
def test_a_long_name_leaves_room_for_the_curve(name):
    curve = curve_of(result_of([(10, 35)], 100, 25, f"{name}.mp4"))
    other = curve_of(result_of([], 100, 25, "b.mp4"))
    assert len(sheet_of([curve, other] * 4, "png")) > 5000
    title, _ = lettered(curve.title, 60)
    assert len(title) <= 60 and title.endswith(".mp4   1 event")


def test_letters_that_no_font_has_become_code_points(monkeypatch):
    monkeypatch.setattr("anomalycli.export.lettering._installed", list)
    assert lettered("視 ü.mp4", 60) == ("[U+8996] ü.mp4", {"fontfamily": ["DejaVu Sans"]})


@pytest.mark.parametrize("n_frames", [3, 12, 75, 120, 250, 1501, 90_000])
def test_no_two_labels_of_the_time_axis_are_alike(tmp_path, n_frames):
    root = ElementTree.parse(write_output(result_of([], n_frames, 25), tmp_path / "a", "svg")).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    times = [text for text in texts if re.fullmatch(r"[\d:]+:\d\d(\.\d)?", text or "")]
    assert len(times) >= 2 or n_frames < 12
    assert len(set(times)) == len(times)
