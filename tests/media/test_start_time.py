"""When a recording began, by its name, its creation time, or the user; and what is no source."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import numpy as np
import pytest

from anomalycli.errors import UsageError
from anomalycli.media.decoder import Decoder
from anomalycli.media.messages import ClipFormat
from anomalycli.media.start_time import StartRule, read_time, read_zone, time_in_name
from anomalycli.media.video import Video

BERLIN = ZoneInfo("Europe/Berlin")
RULE = StartRule(zone=BERLIN)


def wall(path: str, creation_time: str | None = None, rule: StartRule = RULE) -> str | None:
    start = rule.start_of(Path(path), creation_time)
    return start and start.at(0).isoformat(timespec="milliseconds")


@pytest.mark.parametrize(
    "name",
    [
        "VID_20230512_030014.mp4",  # Android
        "20230512_030014.mp4",  # Samsung
        "20230512_030014(0).mp4",
        "signal-2023-05-12-03-00-14-123.mp4",
        "ch01_20230512030014.mp4",  # Hikvision
        "NVR_ch1_main_20230512030014_20230512040000.dav",
        "10.0.0.7_01_20230512030014123_1.mp4",
        "RLC-410-Front_00_20230512030014.mp4",  # Reolink
        "Cam1.20230512_030014.mp4",  # Blue Iris
        "Garage-20230512-030014-1683853214.mp4",  # Synology
        "20230512_030014_A1B2_ACCC8E123456.mkv",  # Axis
        "2023-05-12 03-00-14.mkv",  # OBS
        "2023-05-12_03-00-14-front.mp4",  # Tesla
        "Screen Recording 2023-05-12 at 03.00.14.mov",  # macOS
        "Screen Recording 2023-05-12 at 3.00.14 AM.mov",
        "DJI_20230512030014_0001_D.MP4",
        "2023_0512_030014_001A.MP4",  # Viofo
        "20230512T030014+0200.mp4",
        "20230512T010014Z.ts",
        "20230511T200014-0500.ts",
        "cam 2023.05.12 03h00h14.avi",
        "2023-05-12/001/dav/03/03.00.14-03.30.00[M][0@0][0].dav",  # Dahua
        "Camera1/2023-05-12/03-00-14.mp4",  # motionEye
        "2023-05-12/01/front/00.14.mp4",  # Frigate, UTC
        "front-1683853214.123456-ab12cd.mp4",
        "2023051203/00M14S_1683853214.mp4",  # Xiaomi
        "1683853214123.mp4",  # Arlo
        "PXL_20230512_010014123.mp4",  # Pixel, UTC
        "PXL_20230512_010014123.TS.mp4",
    ],
)
def test_names_of_recorders_and_phones_say_when(name):
    assert wall(name).startswith("2023-05-12T03:00:14.") and wall(name).endswith("+02:00")
    assert RULE.start_of(Path(name)).source == "the file name"


def test_fractions_and_folders_of_hours():
    assert wall("PXL_20230512_010014123.mp4") == "2023-05-12T03:00:14.123+02:00"
    assert wall("1683853214987.mp4") == "2023-05-12T03:00:14.987+02:00"
    assert wall("record/20230512/03/07.mp4") == "2023-05-12T03:07:00.000+02:00"  # Wyze
    assert wall("Screen Recording 2023-05-12 at 3.00.14 PM.mov") == "2023-05-12T15:00:14.000+02:00"
    assert wall("Screen Recording 2023-05-12 at 12.00.14 AM.mov") == "2023-05-12T00:00:14.000+02:00"


@pytest.mark.parametrize(
    "name",
    [
        "clip.mp4",
        "IMG_1234.MOV",
        "VID-20230512-WA0003.mp4",  # a date alone
        "2023-05-12.mp4",
        "2023-05-12/clip 12.mp4",
        "20231312_030014.mp4",  # no month 13
        "20230230_030014.mp4",
        "20230512_250014.mp4",
        "20230512_036114.mp4",
        "20230512_030099.mp4",
        "2023051203001.mp4",  # a digit is missing
        "202305120300145678901.mp4",  # a number
        "19700101_000014.mp4",  # clocks that were never set
        "20000101000000.mp4",
        "19800106_000000.mp4",
        "1234567890.mp4",
        "Normal_Videos_015_x264.mp4",
        "v=aB3_20230512.mp4",
    ],
)
def test_other_names_say_nothing(name):
    assert time_in_name(Path(name)) is None
    assert RULE.start_of(Path(name)) is None


@pytest.mark.parametrize("text", ["1904-01-01T00:00:00.000000Z", "1970-01-01T00:00:00Z", "1969-12-31T23:00:00+0000"])
def test_the_zero_of_a_clock_is_no_start(text):
    assert wall("clip.mp4", text) is None
    assert wall("clip.mp4", "2000-01-01T00:03:00Z") is None
    assert wall("clip.mp4", "9999-12-31T00:00:00Z") is None


def test_a_creation_time_is_utc_or_local_as_asked_and_the_source_says_which():
    text = "2023-05-12T03:00:14.250000Z"
    told = {}
    for how in ("utc", "local", "ignore"):
        start = StartRule(zone=BERLIN, creation_time=how).start_of(Path("clip.mp4"), text)
        told[how] = start and (start.at(0).isoformat(timespec="milliseconds"), start.source)
    assert told == {
        "utc": ("2023-05-12T05:00:14.250+02:00", "the creation time, read as UTC"),
        "local": ("2023-05-12T03:00:14.250+02:00", "the creation time, read as local time"),
        "ignore": None,
    }
    # AVI has no zone, Apple's has its own: neither is read as UTC
    assert wall("clip.avi", "2023-05-12 03:00:14") == "2023-05-12T03:00:14.000+02:00"
    assert wall("IMG_1.MOV", "2023-05-12T03:00:14-0400") == "2023-05-12T09:00:14.000+02:00"
    assert wall("clip.mp4", "Fri May 12") is None


def test_what_is_given_wins_over_the_name_and_the_name_over_the_creation_time():
    name, text = "VID_20230512_030014.mp4", "2020-02-02T02:02:02Z"
    given = StartRule(read_time("2021-01-01 12:00"), zone=BERLIN)
    assert wall(name, text, given) == "2021-01-01T12:00:00.000+01:00"
    assert wall(name, text) == "2023-05-12T03:00:14.000+02:00"


@pytest.mark.parametrize(
    ("local", "later", "expected"),
    [
        ("20230326_013000", 1, "2023-03-26T03:30:00+02:00"),  # summer time begins: an hour is skipped
        ("20231029_013000", 1, "2023-10-29T02:30:00+02:00"),  # and ends: it is there twice
        ("20231029_013000", 2, "2023-10-29T02:30:00+01:00"),
        ("20231029_023000", 1, "2023-10-29T02:30:00+01:00"),  # of two, the first
        ("20230326_023000", 0, "2023-03-26T03:30:00+02:00"),  # a time that there was not
    ],
)
def test_daylight_saving_begins_and_ends_within_a_recording(local, later, expected):
    assert RULE.start_of(Path(f"{local}.mp4")).at(3600 * later).isoformat() == expected


def test_without_a_zone_times_are_those_of_this_computer(monkeypatch):
    if not hasattr(time, "tzset"):
        pytest.skip("this system cannot change its zone")
    monkeypatch.setitem(os.environ, "TZ", "Europe/Berlin")
    time.tzset()
    try:
        start = StartRule().start_of(Path("20231029_013000.mp4"))
        assert [start.at(hour * 3600).isoformat()[-6:] for hour in (0, 2)] == ["+02:00", "+01:00"]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("%d-%m-%Y_%H.%M.%S", "cam 12-05-2023_03.00.14 x.mp4", "2023-05-12T03:00:14.000+02:00"),
        ("cam*_%d%m%Y%H%M", "cam hall_120520230300.mp4", "2023-05-12T03:00:00.000+02:00"),
        ("%m-%d-%Y, %I.%M.%S %p", "Front 5-12-2023, 3.00.14 PM.mp4", "2023-05-12T15:00:14.000+02:00"),
        ("%Y/%m/%d/*_%H-%M-%S", "/x/2023/05/12/hall/a_03-00-14.mp4", "2023-05-12T03:00:14.000+02:00"),
        ("rec%s", "rec1683853214.mp4", "2023-05-12T03:00:14.000+02:00"),
        ("%Y%m%dT%H%M%S%z", "20230512T010014Z.mp4", "2023-05-12T03:00:14.000+02:00"),
        ("%d-%m-%Y_%H.%M.%S", "VID_20230512_030014.mp4", None),  # the pattern is the only one that is read
        ("%Y%m%d%H%M%S", "2023051203001.mp4", None),
        ("100%%_%Y-%m-%d %H.%M", "100%_2023-05-12 03.00.mp4", "2023-05-12T03:00:00.000+02:00"),
    ],
)
def test_a_pattern_says_where_the_time_stands(pattern, path, expected):
    assert wall(path, rule=StartRule(pattern=pattern, zone=BERLIN)) == expected


@pytest.mark.parametrize("pattern", ["%Y-%m-%d", "%H.%M", "clip", "%q%s", "%Y-%m-%d %H %M %Y", "%"])
def test_a_pattern_that_gives_no_time_is_refused(pattern):
    with pytest.raises(UsageError, match="pattern"):
        StartRule(pattern=pattern)


@pytest.mark.parametrize("start", ["0001-01-01 00:00:00", "9999-12-31 23:59:59", ""])
def test_a_start_that_no_calendar_goes_on_from_is_refused(call, start):
    assert "(--start)" in call("score", "clip.mp4", "--start", start, code=2).stderr


def test_a_zone_that_there_is_not_is_refused():
    for name in ("Europe/Bonn", "", "../etc", "/etc/passwd"):
        with pytest.raises(UsageError, match="is not a time zone"):
            read_zone(name)


def test_tags_that_are_no_text_do_not_make_a_video_unreadable(tmp_path):
    path = tmp_path / "tagged.avi"
    with av.open(str(path), "w") as output:
        output.metadata["title"] = "AAAABBBB"
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        output.mux(stream.encode())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"AAAABBBB", "Gärtnerö".encode("latin-1")))
    assert path.read_bytes() != content
    assert len(list(Video(path).frames())) == 3


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_the_decoder_reads_the_creation_time_of_a_container(tmp_path, make_video, suffix):
    path = tmp_path / f"dated.{suffix}"
    plain = make_video(n_frames=4, size=(32, 32))
    with av.open(str(plain)) as source, av.open(str(path), "w") as output:
        output.metadata["creation_time"] = "2023-05-12T01:00:14.000000Z"
        copy = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    with Decoder() as decoder:
        times = [list(decoder.clips(file, ClipFormat(16)))[-1].creation_time for file in (path, plain)]
    assert times[1] is None
    assert read_time(times[0]) == datetime(2023, 5, 12, 1, 0, 14, tzinfo=UTC)
    assert RULE.start_of(path, times[0]).at(0) - datetime(2023, 5, 12, 1, tzinfo=UTC) == timedelta(seconds=14)
