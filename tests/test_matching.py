import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from anomalycli.errors import UsageError
from anomalycli.matching import fits_pattern, match_names


@pytest.mark.parametrize(
    ("written", "video"),
    [
        ("monday", "monday"),
        ("monday.mp4", "monday"),
        ("monday.M2TS", "monday"),
        ("monday", "cam1/monday"),
        ("cam1/monday.mkv", "cam1/monday"),
        (r"D:\footage\cam1\monday.avi", "cam1/monday"),
        ("./cam1/monday", "cam1/monday"),
        ("Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264.mp4", "test/Normal_Videos_003_x264"),
        ("/home/x/UCF_Test_ten_crop_i3d/Abuse028_x264_i3d.npy", "Abuse028_x264"),
        ("/data/rgb/v=x__#1_label_A__0.npy", "RGB/v=x__#1_label_A"),
        ("cam.2024.01", "cam.2024.01"),
        ("cam.2024.01.mp4", "cam.2024.01"),
        ("a.mp4", "a.mp4"),
        ("a", "a.avi"),
        ("  a.mp4  ", "a"),
    ],
)
def test_names_match_with_and_without_folder_and_suffix(written, video):
    assert match_names([written], [video, "other", "deep/another.01"]).found == {written: video}


@pytest.mark.parametrize(
    ("written", "videos"),
    [
        ("cam3/monday", ["cam1/monday", "cam2/monday"]),
        ("tuesday", ["monday"]),
        ("day", ["monday"]),
        ("cam.2024.02", ["cam.2024.01"]),
        ("", ["a"]),
    ],
)
def test_what_is_of_no_video_is_unknown(written, videos):
    matches = match_names([written], videos)
    assert (matches.found, matches.unknown) == ({}, [written])
    assert "1 of 1 names match no video here" in matches.warning("list.txt")


@pytest.mark.parametrize(
    ("written", "videos"),
    [("gate", ["x/gate", "y/gate"]), ("a", ["a.mp4", "a.avi"]), ("1/gate.mp4", ["x/1/gate", "y/1/gate"])],
)
def test_a_name_that_could_be_several_videos_is_refused(written, videos):
    with pytest.raises(UsageError, match=r"list\.txt: '.*' could be .*, "):
        match_names([written], videos, "list.txt")


def test_whole_paths_go_before_ends_and_ends_before_the_last_part():
    videos = ["gate", "x/gate", "y/gate"]
    assert match_names(["gate", "x/gate", "/data/y/gate.mp4"], videos).found == dict(
        zip(["gate", "x/gate", "/data/y/gate.mp4"], videos)
    )
    matches = match_names(["cam1/monday", "cam3/monday"], ["cam1/monday"])
    assert (matches.found, matches.unknown) == ({"cam1/monday": "cam1/monday"}, ["cam3/monday"])
    assert match_names(["a/v__0.npy", "a/v__1.npy"], ["b/v"]).found == {"a/v__0.npy": "b/v", "a/v__1.npy": "b/v"}


@pytest.mark.parametrize(
    ("pattern", "fitting", "other"),
    [
        ("gate/*", "/data/gate/a.mp4", "/data/gate/2024/a.mp4"),
        ("gate/**", "/data/gate/2024/05/a.mp4", "/data/gates/a.mp4"),
        ("gate/", "/data/gate/2024/05/a.mp4", "/data/a.mp4"),
        ("gate/**/night*.mp4", "gate/night1.mp4", "gate/x/day.mp4"),
        ("/data/*/a.mp4", "/data/gate/a.mp4", "/more/data/gate/a.mp4"),
        ("gate-*", "x/gate-1.mp4", "gate-1/a.mp4"),
        ("night?.mp4", "night1.mp4", "night.mp4"),
        ("cam [1]/*", "cam [1]/a.mp4", "cam 2/a.mp4"),
        ("cam[12].mp4", "cam2.mp4", "cam3.mp4"),
        ("[gate", "[gate", "gate"),
        ("./gate/*", "gate/a.mp4", "a.mp4"),
        (r"D:\cams\gate\*", "D:/cams/gate/a.mp4", "gate/a.mp4"),
        (unicodedata.normalize("NFD", "hof-süd/*"), "hof-süd/a.mp4", "hof-sud/a.mp4"),
    ],
)
def test_patterns_of_paths(pattern, fitting, other):
    assert fits_pattern(PurePosixPath(fitting), pattern) and not fits_pattern(PurePosixPath(other), pattern)


def test_a_pattern_with_backslashes_fits_paths_of_windows():
    assert fits_pattern(PureWindowsPath(r"D:\cams\gate\a.mp4"), r"gate\*")
    assert fits_pattern(PureWindowsPath(r"D:\cams\gate\a.mp4"), "gate/*")
