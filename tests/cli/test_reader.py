"""The library that decodes, and the folder in which it does."""

import os

import pytest

MODULES = ("queue", "ctypes", "json", "socket", "subprocess", "numpy", "av", "torch", "click", "sitecustomize")


@pytest.mark.parametrize("command", [("extract", "clip.mp4", "--size", "16"), ("score", "clip.mp4", "--plot", "--csv")])
def test_modules_beside_the_videos_are_not_run(run, make_video, tmp_path, command):
    make_video(n_frames=20)
    for name in MODULES:
        (tmp_path / f"{name}.py").write_text("open('executed', 'a').write(__name__)\n")
    run(*command)
    assert not (tmp_path / "executed").exists()


def test_the_reader_that_was_asked_for_reads(run, make_video, tmp_path):
    make_video(n_frames=20)
    for reader in ("auto", "pyav", "decord"):
        run("extract", "clip.mp4", "--size", "16", "-o", reader, "--reader", reader)
    made = {(tmp_path / reader / "clip.npz").read_bytes() for reader in ("auto", "pyav", "decord")}
    assert len(made) == 1


@pytest.mark.parametrize("words", [("--reader", "pyav"), ()])
def test_without_decord_everything_is_read_all_the_same(run, make_video, tmp_path, words):
    make_video(n_frames=20)
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "decord.py").write_text("raise ImportError('not here')\n")
    path = os.pathsep.join([str(tmp_path / "without"), *filter(None, [os.environ.get("PYTHONPATH")])])
    run("extract", "clip.mp4", "--size", "16", *words, PYTHONPATH=path)
    assert (tmp_path / "features" / "clip.npz").exists()


def test_a_reader_that_there_is_not_is_wrong_usage(run, make_video):
    make_video(n_frames=5)
    assert "ffmpeg" in run("score", "clip.mp4", "--reader", "ffmpeg", code=2).stderr
    assert "give auto, decord, pyav" in run("extract", "clip.mp4", code=2, ANOMALYCLI_READER="vlc").stderr
