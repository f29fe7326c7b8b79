"""What a run of scoring writes: planned before any work, nothing of the user's replaced, one failure costs one file."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import kind, result_of, write_video

from anomalycli.errors import AnomalyError, StorageError, UsageError, VideoError
from anomalycli.export import base as export
from anomalycli.export.outputs import Outputs, score_inputs
from anomalycli.features.files import Features
from anomalycli.inputs import Input, find_inputs
from anomalycli.storage import atomic_write, check_writable, write_file


class Canned:
    """A scorer that gives the same curve for any video: events where `spans` says."""

    extractor = None

    def __init__(self, *spans: tuple[int, int]):
        self.spans, self.scored = list(spans), []

    def score(self, path, mode="auto", rule=None, on_clips=None, cache=None, **others):
        self.scored.append(path.name)
        if path.name.startswith("broken"):
            raise VideoError(f"{path}: not a video that can be read.")
        return result_of(self.spans, 100, 25, path)


def files(folder: Path) -> dict[str, bytes]:
    """Names and content of all files that a user sees."""
    found = (path for path in folder.rglob("*") if path.is_file())
    shown = {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    return {name: content for name, content in shown.items() if not name.startswith(".")}


@pytest.fixture
def film(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    return write_video(tmp_path / "in" / "film.mp4", list(range(0, 4000, 40)))


def run(paths, outputs: Outputs, scorer=None):
    """Every outcome of a run, and the run."""
    made = score_inputs(find_inputs(paths, {".mp4"}), scorer or Canned((10, 35)), outputs)
    return list(made), made


@pytest.mark.parametrize("kind", ["srt", "csv", "json", "events.csv", "png", "html"])
def test_a_file_of_the_users_is_not_replaced_unasked(tmp_path, film, kind):
    theirs = film.with_name(f"film.{kind}")
    theirs.write_bytes(b"by hand")
    scorer = Canned((10, 35))
    with pytest.raises(UsageError, match=rf"film\.{kind}.*overwrite"):
        run([film], Outputs(film.parent, [kind, "npy"]), scorer)
    assert theirs.read_bytes() == b"by hand" and scorer.scored == []  # before any work
    assert set(files(film.parent)) == {"film.mp4", theirs.name}
    run([film], Outputs(film.parent, [kind], overwrite=True))
    assert theirs.read_bytes() != b"by hand"


@pytest.mark.parametrize("kind", ["vtt", "edl", "events.json"])
def test_a_second_run_replaces_what_the_first_wrote_unless_it_was_edited(tmp_path, film, kind):
    outputs = Outputs(tmp_path / "out", [kind])
    run([film], outputs)
    first = files(tmp_path / "out")
    run([film], outputs, Canned((50, 80)))
    assert files(tmp_path / "out") != first
    path = tmp_path / "out" / f"film.{kind}"
    path.write_text(path.read_text() + "edited")
    with pytest.raises(UsageError, match="changed since"):
        run([film], outputs)


def test_what_another_input_of_that_name_made_is_not_replaced(tmp_path, film):
    other = tmp_path / "other" / "film.mp4"
    other.parent.mkdir()
    other.write_bytes(film.read_bytes() + b"\0")
    outputs = Outputs(tmp_path / "out", ["srt"])
    run([film], outputs)
    with pytest.raises(UsageError, match=r"film\.srt"):
        run([other], outputs)
    moved = film.rename(tmp_path / "film.mp4")  # the same recording elsewhere
    run([moved], outputs)


def test_an_input_is_never_replaced_whatever_is_asked(tmp_path, film):
    clip = write_video(film.with_name("film.event1.mp4"), list(range(0, 2000, 40)))
    content = clip.read_bytes()
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="is an input"):
            run([film, clip], Outputs(film.parent, margin=0.5, overwrite=overwrite))
    assert clip.read_bytes() == content


def test_a_template_may_end_with_the_format(tmp_path):
    inputs = [Input(tmp_path / f"{name}.mp4", name) for name in ("a", "b.csv")]
    list(score_inputs(inputs, Canned((10, 20)), Outputs(tmp_path / "out" / "{name}.csv", ["csv", "json"])))
    assert set(files(tmp_path / "out")) == {"a.csv", "a.json", "b.csv.csv", "b.csv.json"}


def test_two_results_that_would_be_one_file_are_refused(tmp_path):
    for names, kinds in ((("a", "a.events"), ["csv", "events.csv"]), (("a", "a.events"), ["events.json", "json"])):
        inputs = [Input(tmp_path / f"{name}.mp4", name) for name in names]
        with pytest.raises(UsageError, match="would be one file"):
            score_inputs(inputs, Canned(), Outputs(tmp_path / "out", kinds))
    inputs = [Input(tmp_path / "a.mp4", "a"), Input(tmp_path / "b.mp4", "b")]
    with pytest.raises(UsageError, match="would be one file"):
        score_inputs(inputs, Canned(), Outputs(tmp_path / "out", ["png"], sheet=tmp_path / "out" / "b.png"))


def test_event_clips_of_an_earlier_run_are_removed_and_never_scored(tmp_path, film):
    folder = film.parent
    outputs = Outputs(folder, ["csv"], margin=0.1)
    run([folder], outputs, Canned((10, 20), (40, 50), (70, 90)))
    assert {"film.event1.mp4", "film.event2.mp4", "film.event3.mp4"} < set(files(folder))
    scorer = Canned((10, 20))
    _, second = run([folder], outputs, scorer)
    assert scorer.scored == ["film.mp4"]
    assert set(files(folder)) == {"film.mp4", "film.csv", "film.event1.mp4"}
    assert sum("left out, cut out of another input" in note for note in second.notes) == 3
    theirs = folder / "film.event7.mp4"  # by hand
    theirs.write_bytes(film.read_bytes())
    with pytest.raises(UsageError, match=r"film\.event7\.mp4"):
        run([film], outputs)
    assert theirs.exists()


def test_a_run_that_was_killed_knows_its_own_files(tmp_path, film, monkeypatch):
    outputs = Outputs(tmp_path / "out", ["csv", "srt"])
    run([film], outputs)

    def killed(self, path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run([film], outputs, Canned((50, 80)))
    run([film], outputs, Canned((50, 80)))
    assert "0.90" in (tmp_path / "out" / "film.srt").read_text()


def blocked_folder(folder: Path) -> Path:
    folder.write_bytes(b"a file")
    return folder


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (lambda tmp: Outputs(blocked_folder(tmp / "out"), ["csv"]), "is a file where a folder is needed"),
        (lambda tmp: Outputs(blocked_folder(tmp / "out") / "deeper", ["html"]), "is a file where a folder is needed"),
        (lambda tmp: Outputs(tmp / "out", sheet=blocked_folder(tmp / "out") / "x.png"), "is a file where a folder"),
        (lambda tmp: Outputs(tmp / ("x" * 300), ["srt"]), "its name is too long"),
        (lambda tmp: Outputs(tmp / "{name}" / ("y" * 300), margin=1.0), "its name is too long"),
        (lambda tmp: Outputs(tmp / "out", ["wav"]), "no format 'wav'"),
        (lambda tmp: Outputs(tmp / "out", sheet=tmp / "x.jpg"), "a sheet is one of"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(tmp_path, film, outputs, told):
    scorer = Canned((10, 35))
    with pytest.raises(AnomalyError, match=told):
        run([film], outputs(tmp_path), scorer)
    assert scorer.scored == []


def test_a_wrong_mode_is_said_before_any_work(tmp_path, film):
    with pytest.raises(UsageError, match="no scoring mode 'hour'"):
        score_inputs(find_inputs([film], {".mp4"}), Canned(), Outputs(tmp_path), mode="hour")


def test_a_missing_extra_is_said_before_any_work(tmp_path, film, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "opentimelineio", None)
    with pytest.raises(UsageError, match="otio files need OpenTimelineIO"):
        run([film], Outputs(tmp_path / "out", ["csv", "otio"]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_what_the_system_refuses_is_a_sentence_with_the_file(tmp_path, number):
    with pytest.raises(StorageError) as told, atomic_write(tmp_path / "x.csv"):
        raise OSError(number, os.strerror(number))
    assert str(told.value).startswith(f"{tmp_path / 'x.csv'}: it cannot be written: ")
    assert told.value.errno == number and list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "x.csv"):
        (tmp_path / "gone.mp4").read_bytes()


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "ü" * 125 + ".csv", "視" * 83 + ".csv"])
def test_the_longest_names_can_be_written(tmp_path, name):
    write_file(tmp_path / name, "it")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(StorageError, match="its name is too long"):
        check_writable(tmp_path / f"xxxxxx{name}")


def test_one_name_that_is_too_long_costs_its_own_files_alone(tmp_path):
    long = "n" * 246  # NAME.events.csv is too long, NAME.csv is not
    inputs = [Input(tmp_path / f"{name}.mp4", name) for name in (long, "a", "b")]
    made = score_inputs(inputs, Canned(), Outputs(tmp_path / "out", ["csv", "events.csv"]))
    assert len(made.notes) == 1 and "too long" in made.notes[0]  # before any work
    first, *others = made
    assert first.result and "too long" in first.failure and first.written == {"csv": 1}
    assert all(not scored.failure and sum(scored.written.values()) == 2 for scored in others)
    assert len(made.failures) == 1


class Failing:
    def __init__(self, error: Exception):
        self.error = error

    def render(self, result, context):
        if result.path.name == "a.mp4":
            raise self.error
        return "fine"


@pytest.mark.parametrize("error", [VideoError("no"), OSError(errno.EIO, "no"), KeyError("no"), MemoryError("no")])
def test_a_format_that_fails_costs_itself_alone(tmp_path, monkeypatch, error):
    usual = export.load_writer
    monkeypatch.setattr(
        "anomalycli.export.outputs.load_writer", lambda name: Failing(error) if name == "vtt" else usual(name)
    )
    inputs = [Input(tmp_path / f"{name}.mp4", name) for name in ("a", "broken", "b")]
    made = score_inputs(inputs, Canned((10, 35)), Outputs(tmp_path / "out", ["csv", "vtt", "srt"]))
    a, broken, b = made
    assert a.result and a.failure and a.written == {"csv": 1, "srt": 1}
    assert broken.result is None and "not a video" in broken.failure
    assert b.result and not b.failure and sum(b.written.values()) == 3
    assert set(files(tmp_path / "out")) == {"a.csv", "a.srt", "b.csv", "b.vtt", "b.srt"}
    assert len(made.failures) == 2


def test_index_and_sheet_are_planned_and_written_with_the_rest(tmp_path):
    inputs = [Input(tmp_path / f"x/{name}.npz", f"x/{name}") for name in ("a", "b", "broken")]
    outputs = Outputs(tmp_path / "out", ["html"], sheet=tmp_path / "out" / "sheet.svg")
    for _ in range(2):
        made = score_inputs(inputs, Canned((10, 35)), outputs)
        assert [scored.title for scored in made] == ["x/a.npz", "x/b.npz", "x/broken.npz"]
        assert made.shared == [outputs.sheet, tmp_path / "out" / "index.html"]
    index = (tmp_path / "out" / "index.html").read_text()
    assert "x/a.npz" in index and "broken.npz: not a video" in index
    (tmp_path / "out" / "index.html").write_text("my own page")
    with pytest.raises(UsageError, match=r"index\.html"):
        score_inputs(inputs, Canned(), outputs)


def test_a_page_without_pictures_is_written_and_the_reason_said(tmp_path):
    made = score_inputs([Input(tmp_path / "gone.mp4", "gone")], Canned((10, 35)), Outputs(tmp_path, ["html", "png"]))
    (scored,) = made
    assert scored.written == {"html": 1, "png": 1}
    assert scored.failure.startswith("No pictures of the video can be shown: ") and "gone.mp4" in scored.failure


def test_json_is_valid_whatever_is_in_it(tmp_path):
    result = result_of([(10, 35)], 100, float("inf"), "bad\udcff\n.mp4")
    result.scores[40:50] = np.nan
    path = export.write_output(result, tmp_path / "x", "json")

    def refuse(word):
        raise AssertionError(word)

    held = json.loads(path.read_bytes().decode("utf-8", "strict"), parse_constant=refuse)
    assert held["video"] == "bad\ufffd\ufffd.mp4" and held["scores"][45] is None and held["fps"] is None


def test_a_video_too_large_for_its_page_is_said_before_and_costs_that_page_alone(tmp_path, film, monkeypatch):
    monkeypatch.setattr("anomalycli.export.base.EMBED_LIMIT", film.stat().st_size - 1)
    small = write_video(film.with_name("small.mp4"), [0, 40])
    made = score_inputs(
        find_inputs([film, small], {".mp4"}), Canned((10, 35)), Outputs(tmp_path, ["html", "csv"], embed=True)
    )
    assert len(made.notes) == 1 and "too large to embed" in made.notes[0]
    first, second = made
    assert first.written == {"csv": 1} and "too large to embed" in first.failure
    assert second.written == {"csv": 1, "html": 1}


def test_feature_files_show_the_video_that_they_were_made_from(tmp_path, film):
    size = film.stat().st_size
    decoy = tmp_path / "in" / "a" / film.name
    decoy.parent.mkdir()
    decoy.write_bytes(b"another of that name")
    for name, source, n_bytes in (("x", film.name, size), ("y", film.name, size + 1), ("z", "gone.mp4", size)):
        made = Features(np.zeros((7, 1, 32), np.float32), kind(), 100, 25.0, source, source_bytes=n_bytes)
        made.save(tmp_path / "features" / f"{name}.npz")
    inputs = find_inputs([tmp_path / "features"], {".npz"})
    outputs = Outputs(tmp_path / "out", ["html"], margin=0.2, video_dir=tmp_path / "in")
    x, y, z = score_inputs(inputs, Canned((10, 35)), outputs)
    assert not x.failure and x.written == {"html": 1, "event*": 1}
    assert (tmp_path / "out" / "x.event1.mp4").stat().st_size > 500
    assert "data:image/jpeg" in (tmp_path / "out" / "x.html").read_text()
    for scored, name in ((y, film.name), (z, "gone.mp4")):
        assert scored.written == {"html": 1} and f"made from, {name}, is not below" in scored.failure


def test_titles_tell_all_inputs_apart(tmp_path):
    names = ["dot.mp4", "dot.mp4.mp4", "a.avi", "a.mp4", "a.mp4.avi", "x/a.mp4", "x/a.b.avi"]
    for name in names:
        (tmp_path / "v" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "v" / name).touch()
    inputs = find_inputs([tmp_path / "v"], {".mp4", ".avi"})
    made = list(score_inputs(inputs, Canned((10, 20)), Outputs(tmp_path / "o", ["csv"])))
    assert sorted(scored.title for scored in made) == sorted(names)
    assert not any(scored.failure for scored in made)


def test_a_video_named_as_the_index_keeps_its_suffix(tmp_path, film):
    write_video(film.with_name("index.mp4"), list(range(0, 4000, 40)))
    outputs = Outputs(tmp_path / "out", ["html"], truths={"index": [(0, 9)], "film": []})
    for _ in range(2):  # the second run finds its own files
        done, _ = run([film.parent], outputs)
        assert {"film.html", "index.html", "index.mp4.html"} == set(files(tmp_path / "out"))
        assert [one.truth for one in done] == [[], [(0, 9)]]
    assert b'href="index.mp4.html"' in (tmp_path / "out" / "index.html").read_bytes()
    run([film.with_name("index.mp4")], Outputs(tmp_path / "alone", ["html"]))
    assert set(files(tmp_path / "alone")) == {"index.html"}
    with pytest.raises(UsageError, match="rename the file"):
        score_inputs([Input(film, "film"), Input(tmp_path / "index", "index")], Canned(), outputs)


@pytest.mark.parametrize("template", ["{nme}", "{name}/{}", "a{name:03}", "{Name}.csv"])
def test_a_placeholder_that_there_is_not_is_refused(tmp_path, template):
    with pytest.raises(UsageError, match=r"is not a placeholder. There is one: \{name\}") as caught:
        Outputs(tmp_path / template)
    assert caught.value.settings == ("output",)
    (tmp_path / template).mkdir(parents=True)
    Outputs(tmp_path / template)  # a folder of that very name
