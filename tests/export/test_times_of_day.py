"""Times of day in everything that is written, where the start of a recording is known."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pandas as pd
import pysrt
import pytest
from helpers import result_of, write_index

from anomalycli.cli.tables import summary_row
from anomalycli.export.base import Context, load_writer, write_output
from anomalycli.export.report import camera_of, page_of, write_report
from anomalycli.export.time_axis import time_labels
from anomalycli.media.start_time import RecordingStart

BERLIN = ZoneInfo("Europe/Berlin")
START = RecordingStart(datetime(2023, 10, 29, 0, 30, tzinfo=UTC), "the file name", BERLIN)  # 02:30 in summer
HOUR = 3600 * 5  # frames


def night():
    """Three hours at 5 frames/s in which summer time ends after half an hour; events at 10 and at 40 minutes."""
    return result_of([(600 * 5, 620 * 5), (2400 * 5, 2402 * 5)], 3 * HOUR, 5, "hall.mp4", start=START)


def written(result, name: str) -> str | bytes:
    return load_writer(name).render(result, Context(Path("x"), result.path.name))


def test_tables_and_json_have_iso_times_with_the_offset_in_force():
    result = night()
    rows = list(csv.DictReader(io.StringIO(written(result, "events.csv"))))
    starts = ["2023-10-29T02:40:00.000+02:00", "2023-10-29T02:10:00.000+01:00"]
    assert [row["start_at"] for row in rows] == starts
    assert rows[0]["end_at"] == "2023-10-29T02:40:20.000+02:00"
    whole = json.loads(written(result, "json"))
    assert (whole["recorded_at"], whole["recorded_at_source"]) == ("2023-10-29T02:30:00.000+02:00", "the file name")
    assert [event["start_at"] for event in whole["events"]] == starts
    frames = pd.read_csv(io.StringIO(written(result, "csv")))
    times = pd.to_datetime(frames["at"], utc=True)
    assert (times - times[0]).dt.total_seconds().sub(frames.time).abs().max() < 1e-3


def test_without_a_start_there_are_offsets_and_nothing_else():
    result = result_of([(10, 35)], 100, 25)
    event = json.loads(written(result, "json"))["events"][0]
    assert (event["start_at"], event["start_time"]) == (None, 0.4)
    assert written(result, "events.csv").splitlines()[1].endswith(",,,")
    assert pd.read_csv(io.StringIO(written(result, "csv")))["at"].isna().all()
    assert summary_row(result)["events"].startswith("0:00-0:01")


def test_subtitles_keep_their_offsets(tmp_path):
    subtitles = pysrt.open(write_output(night(), tmp_path / "hall", "srt"))
    assert [subtitle.start.ordinal for subtitle in subtitles] == [600_000, 2_400_000]


def test_the_table_has_times_of_day_and_each_day_once():
    row = summary_row(night())
    assert row["at"] == "29 Oct 02:40:10"
    assert re.sub(r"\[.*?\]", "", row["events"]).split() == [
        *("29", "Oct", "02:40:00-02:40:20", "0.90"),
        *("02:10:00-02:10:02", "0.90"),
    ]
    late = RecordingStart(datetime(2023, 5, 12, 21, 59, 50, tzinfo=UTC), "the file name", BERLIN)
    events = summary_row(result_of([(0, 25), (500, 525)], 1000, 25, start=late))["events"]
    assert "12 May 23:59:50" in events and "13 May 00:00:10" in events


def test_the_axis_has_round_times_of_day():
    start = RecordingStart(datetime(2023, 5, 12, 1, 0, 14, tzinfo=UTC), "the file name", BERLIN)
    places, texts, name = time_labels(3600, 6, start)
    assert texts == ["03:10", "03:20", "03:30", "03:40", "03:50", "04:00"] and places[0] == 586
    assert name == "time of day, 12 May 2023"
    places, texts, _ = time_labels(20, 12, start)
    assert texts[:2] == ["03:00:14", "03:00:16"] and places[:2] == [0, 2]
    assert time_labels(0.6, 6, start)[1][:2] == ["03:00:14.0", "03:00:14.2"]
    assert len(time_labels(2.0, 12, start)[1]) == 5  # eleven of that length would nearly touch
    over_midnight = RecordingStart(datetime(2023, 5, 12, 21, tzinfo=UTC), "the file name", BERLIN)
    _, texts, name = time_labels(7200, 4, over_midnight)
    assert texts == ["23:00", "23:30", "00:00", "00:30", "01:00"] and name.endswith("12 May 2023 to 13 May 2023")


def test_the_plot_is_labelled_with_times_of_day():
    root = ElementTree.fromstring(written(night(), "svg"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "time of day, 29 Oct 2023" in texts
    # half past two is there twice, and an hour later it is half past two again
    hours = [text for text in texts if re.fullmatch(r"\d\d:\d\d", text or "")]
    assert hours[0] == "02:30" and hours.count("02:30") == 2 and hours[-1] == "04:30"


def test_a_page_shows_times_of_day_through_a_change_of_clocks(browser, tmp_path):
    page = write_report(night(), tmp_path / "hall.html", index=tmp_path / "index.html")
    plain = write_report(result_of([], 50, 25, "x.mp4"), tmp_path / "x.html", index=tmp_path / "index.html")
    write_index([page, plain], tmp_path / "index.html")
    browser.get_log("browser")
    browser.get((tmp_path / "index.html").as_uri())
    chips = [element.text for element in browser.find_elements("css selector", ".chips a")]
    assert chips == ["29 Oct 02:40:00", "02:10:00"]
    browser.find_element("link text", "29 Oct 02:40:00").click()
    header = browser.find_element("tag name", "header").text
    assert "Recorded 29 Oct 2023, 02:30:00 to 04:30:00 (Europe/Berlin), from the file name." in header
    assert "at 29 Oct 02:40:10." in header
    rows = [row.text.split("\n")[0] for row in browser.find_elements("css selector", "tbody tr")]
    assert rows == ["02:40:00 \u2013 02:40:20", "02:10:00 \u2013 02:10:02"]
    assert browser.find_element("id", "readout").text.startswith("29 Oct 02:40:00.0 · 10:00.0 · frame 3000")
    read = browser.execute_script("return ['start', 'peak'].map((n) => isoTime(data.start, edge(events[1][n])))")
    assert read == ["2023-10-29T02:10:00.000+01:00", "2023-10-29T02:10:01.000+01:00"]
    # 59.97 s is the next second, with its minute
    assert browser.execute_script("return timeOfDay(data.start, 59.97, 1)") == "02:31:00.0"
    assert browser.execute_script("return timeOfDay(null, 59.97, 1)") == "1:00.0"
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_the_index_has_the_events_of_all_videos_by_camera_and_time(browser, tmp_path):
    from selenium.webdriver.support.wait import WebDriverWait

    def page(name, hour, spans):
        start = RecordingStart(datetime(2023, 5, 12, hour, tzinfo=UTC), "the file name", BERLIN)
        result = result_of(spans, 3600 * 5, 5, str(tmp_path / name), start=start)
        return page_of(result, Context(tmp_path / f"{name}.html", name))

    write_index(
        [
            page("hall_20230512_200000.mp4", 18, [(0, 300), (9000, 9300)]),
            page("hall_20230512_220000.mp4", 20, [(9000, 9300)]),
            page("yard/clip 1.mp4", 19, []),
            page_of(result_of([(10, 20)], 100, 5, "x.mp4"), Context(tmp_path / "x.html", "x.mp4")),
        ],
        tmp_path / "index.html",
    )
    browser.get_log("browser")
    browser.get("about:blank")
    browser.get((tmp_path / "index.html").as_uri())
    cameras = browser.find_elements("css selector", "#cameras > div")
    assert [camera.text for camera in cameras] == ["hall", "yard"]
    place = (
        "const box = arguments[0].parentElement.getBoundingClientRect(), own = arguments[0].getBoundingClientRect();"
    )
    place += "return (own.left - box.left) / box.width"
    marks = cameras[0].find_elements("css selector", ".mark")
    places = sorted(round(browser.execute_script(place, mark), 2) for mark in marks)
    assert places == [0, 0.17, 0.83]  # of three hours
    assert not cameras[1].find_elements("css selector", ".mark")
    assert browser.find_element("id", "times").text.split()[:2] == ["20:00", "20:30"]
    assert browser.find_element("id", "timeline-note").text == "1 video without a time of day not shown."
    assert "hall_20230512_200000.mp4.html#t=0.00" in {mark.get_attribute("href").rsplit("/", 1)[1] for mark in marks}
    browser.find_element("css selector", "#timeline summary").click()
    WebDriverWait(browser, 100).until(lambda page: page.execute_script("return recall(folded)"))  # `toggle` comes later
    browser.refresh()
    assert not browser.find_element("id", "cameras").is_displayed()
    browser.execute_script("localStorage.clear()")
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def test_without_times_of_day_the_events_of_two_videos_are_not_drawn_over_each_other(browser, tmp_path):
    def page(name, spans):
        result = result_of(spans, 100, 5, str(tmp_path / name))
        return page_of(result, Context(tmp_path / f"{name}.html", name))

    pages = [page("gate/1.mp4", [(10, 20)]), page("gate/2.mp4", [(10, 20), (50, 90)]), page("gate/3.mp4", [])]
    write_index(pages, tmp_path / "index.html")
    browser.get_log("browser")
    browser.get("about:blank")
    browser.get((tmp_path / "index.html").as_uri())
    rows = browser.find_elements("css selector", "#cameras > div")
    assert [(row.text, len(row.find_elements("css selector", ".mark"))) for row in rows] == [
        ("gate/1.mp4", 1),
        ("gate/2.mp4", 2),
    ]
    write_index([page("gate/3.mp4", [])], tmp_path / "index.html")
    browser.refresh()
    assert browser.find_elements("css selector", "#cameras > div") == []
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.parametrize(
    ("title", "camera"),
    [
        ("hall/2023-05-12.mp4", "hall"),
        ("floor 1/hall/a.mp4", "floor 1/hall"),
        ("hall_20230512_030014.mp4", "hall"),
        ("hall 03.mp4", "hall"),
        ("20230512_030014.mp4", "20230512_030014"),
        ("clip.mp4", "clip"),
    ],
)
def test_a_camera_is_a_folder_or_a_name_before_its_date(title, camera):
    assert camera_of(title) == camera


def test_offsets_of_a_recording_are_found_to_the_second():
    assert START.offsets(3 * 3600) == [(0.0, 120), (1800.0, 60)]
    assert START.offsets(60) == [(0.0, 120)]
    assert RecordingStart(START.instant - timedelta(days=1), "", BERLIN).offsets(2 * 86400) == [
        (0.0, 120),
        (88200.0, 60),
    ]
