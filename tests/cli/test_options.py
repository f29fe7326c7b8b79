"""The command line as people know it: inputs, outputs, words, settings from a file."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from helpers import kind

from anomalycli.checkpoint import ModelInfo, save_model
from anomalycli.cli import cli, main
from anomalycli.cli.terminal import log, messages
from anomalycli.denet import DENet, DENetConfig
from anomalycli.errors import UsageError
from anomalycli.export.base import BUILT_IN
from anomalycli.export.outputs import Outputs, score_inputs
from anomalycli.features.files import load_features
from anomalycli.inputs import expand, find_inputs
from anomalycli.score import Scorer


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command line in `tmp_path`, in this process: starting torch anew for each would take minutes."""
    monkeypatch.chdir(tmp_path)

    def run(*line, code: int = 0, **env) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["anomalycli", *line])
        for name, value in ({"COLUMNS": "200"} | env).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main()
        messages.quiet = False
        for handler in log.handlers[1:]:
            log.removeHandler(handler)
        told = capsys.readouterr()
        assert (ended.value.code or 0) == code, told
        return SimpleNamespace(stdout=told.out, stderr=told.err)

    return run


@pytest.fixture
def features(make_features, tmp_path) -> Path:
    """Feature files of six videos, and model.safetensors that knows them and finds an event in each."""
    folder = make_features(normal=3, abnormal=3)
    config = DENetConfig(32, heads=2, feedforward=16)
    from anomalycli.events import EventRule

    info = ModelInfo(config, kind(), EventRule(0.001, 0.001, 0, 0))
    save_model(tmp_path / "model.safetensors", DENet(config), info)
    return folder


def names(run, *words, **keywords) -> list[str]:
    done = run("score", *words, "--model", "model.safetensors", "--json", **keywords)
    return [Path(json.loads(line)["video"]).name for line in done.stdout.splitlines()]


def test_inputs_are_files_folders_patterns_and_lists(run, features, tmp_path):
    everything = [f"video{i:02}.npz" for i in range(6)]
    assert names(run, "features") == everything
    assert names(run, "features/video0[0-2].npz") == everything[:3]
    assert names(run, "**/video05.npz") == everything[5:]
    (tmp_path / "list.txt").write_text("features/video03.npz\n\nfeatures/video01.npz\n")
    assert names(run, "@list.txt") == ["video03.npz", "video01.npz"]
    assert "no file matches that pattern" in run("score", "nothing*.mp4", code=2).stderr
    assert "gone.txt" in run("score", "@gone.txt", code=2).stderr


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
def test_a_list_comes_on_stdin(features, tmp_path, end):
    done = subprocess.run(
        [sys.executable, "-m", "anomalycli", "score", "-", "--model", "model.safetensors", "--json"],
        input=end.join((b"features/video02.npz", b"features/video04.npz", b"")),
        cwd=tmp_path,
        capture_output=True,
    )
    assert [Path(json.loads(line)["video"]).stem for line in done.stdout.splitlines()] == ["video02", "video04"]


def test_a_file_of_that_very_name_is_no_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip[1].mp4", "@x.mp4", "clip1.mp4"):
        Path(name).touch()
    assert expand(["clip[1].mp4", "@x.mp4"]) == [Path("clip[1].mp4"), Path("@x.mp4")]
    with pytest.raises(UsageError):
        expand(["clop*"])


def test_output_is_a_folder_or_a_template(run, features, tmp_path):
    assert Outputs(Path("out")).base("a/b") == Path("out/a/b")
    assert Outputs(Path("out/{name}/x-{name}")).base("b") == Path("out/b/x-b")
    done = run("score", "features", "--model", "model.safetensors", "--csv", "-f", "srt", "-o", "out/{name}-scores")
    assert "for feature files" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == sorted(
        f"video{i:02}-scores.{suffix}" for i in range(6) for suffix in ("csv", "srt")
    )


def test_every_format_is_written_by_its_name(run, features, tmp_path):
    chosen = [word for name in BUILT_IN for word in ("-f", name)]
    words = ("score", "features/video05.npz", "--model", "model.safetensors", "--every", "4", "--still", "auto")
    done = run(*words, *chosen, "-o", "out")
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {f"video05.{name}" for name in BUILT_IN}
    assert "--still and --every do nothing for feature files" in done.stderr and "video05.npz" in done.stderr


def test_pages_of_a_folder_have_an_index_and_a_sheet(run, features, tmp_path):
    (tmp_path / "truth.csv").write_text("video,n_frames,start,end\nvideo00,155,,\nvideo05,155,48,80\n")
    (features / "broken.npz").write_bytes(b"PK")
    done = run(
        *("score", "features", "--model", "model.safetensors", "--html", "--sheet", "out/all.svg"),
        *("--ground-truth", "truth.csv", "-o", "out"),
        code=3,
    )
    index = (tmp_path / "out" / "index.html").read_text()
    assert re.findall(r'href="(video\d\d)\.html"', index) and index.count('<li class="card"') == 6
    assert "broken.npz: not a whole feature file" in index
    assert '"truth": [[48, 80]]' in (tmp_path / "out" / "video05.html").read_text()
    assert (tmp_path / "out" / "all.svg").exists()
    assert "index.html" in done.stderr
    assert "a sheet is one of" in run("score", "features", "--sheet", "x.jpg", code=2).stderr


def test_scores_of_many_videos_are_not_kept(features, tmp_path):
    outputs = Outputs(tmp_path / "out", ("html", "csv"))
    inputs = find_inputs([features], {".npz"})
    alive, pages = [], []
    for outcome in score_inputs(inputs, Scorer.load(tmp_path / "model.safetensors", "cpu"), outputs):
        alive.append(weakref.ref(outcome.result.scores))
        pages.append(outcome.page)
        assert sum(scores() is not None for scores in alive) == 1
        outcome.result = None
    assert len({page.curve for page in pages}) == len(inputs) == 6


def test_what_was_written_before_a_failure_is_told(features, tmp_path):
    (tmp_path / "out" / "video00.srt").mkdir(parents=True)
    outputs = Outputs(tmp_path / "out", ("csv", "srt", "vtt"))
    inputs = find_inputs([features / "video00.npz", features / "gone.npz", features / "video01.npz"], {".npz"})
    first, gone, last = score_inputs(inputs, Scorer.load(tmp_path / "model.safetensors", "cpu"), outputs)
    assert first.result and first.written == {"csv": 1, "vtt": 1} and "video00.srt" in first.failure
    assert gone.result is None and not gone.written and "there is no such file" in gone.failure
    assert not last.failure and last.written == {"csv": 1, "srt": 1, "vtt": 1} and last.page is None


def test_quiet_says_only_what_went_wrong(run, features):
    (features / "broken.npz").write_bytes(b"PK")
    loud = run("score", "features", "--model", "model.safetensors", "--csv", "-o", "out", code=3).stderr
    quiet = run("score", "features", "--model", "model.safetensors", "--csv", "-o", "out", "-q", code=3).stderr
    assert "Written" in loud and "Written" not in quiet
    assert "broken.npz" in quiet
    for quiet in ((), ("-q",)):
        told = run("score", "features/video00.npz", *quiet, "--model", "gone.safetensors", code=1).stderr
        assert told.count("Error") == 1


def test_verbose_and_the_log_say_more(run, features, tmp_path):
    line = ("score", "features/video00.npz", "--model", "model.safetensors", "--csv", "-o", "out")
    assert "10 clips" not in run(*line).stderr
    assert "scores of an earlier run" in run(*line, "-v").stderr
    assert "10 clips" in run(*line, "-v", "--overwrite").stderr
    run(*line, "-q", "--log-file", "log.txt")
    log = (tmp_path / "log.txt").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d .* DEBUG .*scores of an earlier run", log, re.M)
    assert re.search(r"INFO Written: .*video00\.csv", log)
    assert "cannot be written" in run(*line, "--log-file", "no/such/log.txt", code=2).stderr


def test_a_config_file_is_under_the_flags(run, features, tmp_path):
    def threshold(*words):
        done = run("score", "features/video00.npz", "--model", "model.safetensors", "--json", *words)
        return json.loads(done.stdout)["rule"]["start"]

    (tmp_path / "flat.toml").write_text(
        "threshold = 0.9\nend-threshold = 0.2\nformat = ['srt', 'vtt']\noutput = 'out'\n"
    )
    (tmp_path / "tables.toml").write_text("[train]\nsteps = 3\n[score]\nthreshold = 0.7\n")
    assert threshold("--config", "flat.toml") == 0.9
    assert {path.suffix for path in (tmp_path / "out").glob("[!.]*")} == {".srt", ".vtt"}
    (tmp_path / "one.toml").write_text("format = 'vtt'\noutput = 'one'\n")
    threshold("--config", "one.toml")
    assert {path.suffix for path in (tmp_path / "one").glob("[!.]*")} == {".vtt"}
    assert threshold("--config", "flat.toml", "--threshold", "0.4") == 0.4
    assert threshold("--config", "tables.toml") == 0.7
    (tmp_path / "both.toml").write_text("threshold = 0.9\nend-threshold = 0.2\n[score]\nthreshold = 0.7\n")
    assert threshold("--config", "both.toml") == 0.7
    (tmp_path / "typo.toml").write_text("treshold = 0.9\n")
    assert "Did you mean 'threshold'?" in run("score", "x.mp4", "--config", "typo.toml", code=2).stderr
    for table, answer in (("scores", "Did you mean [score]?"), ("gate", "Tables are named as commands: ")):
        (tmp_path / "table.toml").write_text(f"[{table}]\nthreshold = 0.9\n")
        assert answer in run("score", "x.mp4", "--config", "table.toml", code=2).stderr
    (tmp_path / "top.toml").write_text("treshold = 0.9\n[score]\nthreshold = 0.7\n")
    assert "Did you mean 'threshold'?" in run("score", "x.mp4", "--config", "top.toml", code=2).stderr
    assert "no.toml: cannot be read" in run("score", "x.mp4", "--config", "no.toml", code=2).stderr
    (tmp_path / "number.toml").write_text("model = 5\n")
    assert "'5' is not a path" in run("score", "x.mp4", "--config", "number.toml", code=2).stderr
    assert "'' is not a path" in run("score", "x.mp4", "--weights", "", code=2).stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("threshold = [0.5]", "'threshold' takes one value, not a list"),
        ("[score]\nthreshold = {a = 1}", "'threshold' takes one value, not a table"),
        ("threshold = true", "'threshold' takes a value, not true or false"),
        ("every = [2]", "'every' takes one value"),
        ("html = []", "'html' takes one value"),
        ("html = [true]", "'html' takes one value"),
        ("format = [['csv']]", "'format' takes single values, not a list"),
        ("format = [true]", "'format' takes a value"),
        ("every = 1.5", "'every' takes a whole number, not 1.5"),
        ("every = inf", "'every' takes a whole number, not inf"),
        ("every = 2023-05-12", "'every' takes a whole number, not 2023-05-12"),
        ("gap = 03:00:14", "'gap' takes a number, not 03:00:14"),
        ("gap = 1" + 400 * "0", "'gap' takes a number, not 1000"),
        ('output = "a\\u0000b"', "'a\0b' is not a path"),
        ("threshold = 'high'", "c.toml: 'threshold': 'high' is not a valid float"),
        ("every = 0", "c.toml: 'every': 0 is not in the range x>=1"),
        ("precision = 'fp8'", "c.toml: 'precision': 'fp8' is not one of"),
        ("html = 2", "'html' takes true or false, not 2"),
        ("end-threshold = 0.2\nend_threshold = 0.3", "'end-threshold' is set twice"),
    ],
)
def test_a_config_file_with_values_of_another_shape_is_named(call, tmp_path, line, told):
    (tmp_path / "c.toml").write_text(line + "\n")
    assert told in call("score", "x.mp4", "--config", "c.toml", code=2).stderr


def test_typos_are_answered_with_the_nearest(run):
    assert "score" in run("scroe", code=2).stderr
    assert "--threshold" in run("score", "x.mp4", "--treshold", "1", code=2).stderr
    assert "events.csv" in run("score", "x.mp4", "-f", "event.csv", code=2).stderr


def test_the_version_is_what_a_report_of_a_bug_needs(run):
    lines = run("--version").stdout.splitlines()
    assert re.fullmatch(r"anomalycli \d+\.\d+\.\d+", lines[0])
    assert lines[1].startswith("Python 3.")
    assert {line.split()[0] for line in lines[2:]} >= {"torch", "av", "numpy"}


def test_no_colour_and_narrow_terminals(run, features):
    line = ("score", "features/video00.npz", "--model", "model.safetensors")
    wide = run(*line, NO_COLOR="1", FORCE_COLOR="", COLUMNS="120").stdout
    assert "\x1b" not in wide and re.search("[▁▂▃▄▅▆▇█]{10}", wide)
    narrow = run(*line, COLUMNS="40").stdout
    assert max(map(len, narrow.splitlines())) <= 40
    assert "0:06" in narrow


def test_shell_completion_knows_the_commands(tmp_path):
    environment = os.environ | {
        "_ANOMALYCLI_COMPLETE": "bash_complete",
        "COMP_WORDS": "anomalycli sc",
        "COMP_CWORD": "1",
    }
    code = "from anomalycli.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "plain,score"


@pytest.mark.parametrize(
    ("name", "some"),
    [("score", "Files to write"), ("train", "Network"), ("evaluate", "Results"), ("compare", "Comparison")],
)
def test_help_shows_each_option_once_in_its_section(name, some):
    command = cli.commands[name]
    told = command.get_help(click.Context(command, info_name=name, max_content_width=200))
    told = told[re.search(r"^\w.*:$", told, re.M).start() :]
    sections = re.findall(r"^(\w.*):$", told, re.M)
    assert some in sections and len(sections) == len(set(sections))
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert len(re.findall(rf"^  (?:-\w, )?{parameter.opts[-1]}\b(?!-)", told, re.M)) == 1, parameter.name
    assert "[default: (" not in told
    assert re.search(r"^Options:\n  (?:-h, )?--help .*\Z", told, re.M)  # whatever else there is stands under a heading


@pytest.mark.parametrize("name", ["page.html", "a.b.events.csv", "picture.svg"])
def test_the_output_of_one_video_may_be_a_file(run, features, tmp_path, name):
    run("score", "features/video00.npz", "--model", "model.safetensors", "-o", f"out/{name}")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == [name]
    told = run("score", "features", "--model", "model.safetensors", "-o", f"out/{name}", code=2).stderr
    assert "one file, and there are 6 inputs" in told


def test_options_that_do_nothing_say_so(run, features):
    for line, told in (
        (("--margin", "3"), "--margin does nothing without --clips"),
        (("--exact",), "--exact does nothing without --clips"),
        (("--embed", "--csv", "-o", "out"), "--embed does nothing without --html"),
    ):
        assert told in run("score", "features/video00.npz", "--model", "model.safetensors", *line).stderr
    used = ("--html", "--embed", "--clips", "--exact", "--margin", "2", "-o", "out2")
    assert "does nothing" not in run("score", "features/video00.npz", "--model", "model.safetensors", *used).stderr


def test_features_of_another_kind_cost_themselves_alone(run, features, make_features, tmp_path):
    make_features("other", normal=1, abnormal=0, backbone="i3d")
    (tmp_path / "other" / "video00.npz").rename(features / "another.npz")
    done = run("score", "features", "--model", "model.safetensors", "--json", code=3)
    assert len(done.stdout.splitlines()) == 6
    assert "another.npz" in done.stderr and "i3d" in done.stderr


@pytest.fixture
def recordings(features, tmp_path) -> Path:
    """Two of the feature files, of recordings whose names have a time, and one without."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for old, new in (("video00", "hall_20230512_030014"), ("video01", "hall_20230512_040014"), ("video02", "plain")):
        content = load_features(features / f"{old}.npz")
        dataclasses.replace(content, source=f"{new}.mp4").save(folder / f"{new}.npz")
    return folder


def test_the_start_of_a_recording_is_in_its_name_or_given(run, recordings):
    words = ("score", "--model", "model.safetensors", "--timezone", "Europe/Berlin")
    done = run(*words, "recordings")
    assert "12 May 03:00:14-03:00:20" in done.stdout and "0:00-0:06" in done.stdout
    assert "Times of day of 2 videos: from the file name, in Europe/Berlin" in done.stderr
    given = run(*words, "recordings/plain.npz", "--start", "2023-05-12 23:59:59", "--json")
    assert json.loads(given.stdout)["recorded_at"] == "2023-05-12T23:59:59.000+02:00"
    pattern = run(*words, "recordings", "--start-pattern", "hall_%Y%d%m_%H%M%S", "--json")
    starts = [json.loads(line)["recorded_at"] for line in pattern.stdout.splitlines()]
    assert starts == ["2023-12-05T03:00:14.000+01:00", "2023-12-05T04:00:14.000+01:00", None]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--start", "yesterday"), r"'yesterday' is not a time.*\(--start\)"),
        (("--start", "2023-05-12 03:00"), r"3 inputs.*\(--start, --start-pattern\)"),
        (("--start-pattern", "%Y"), r"gives no date and time.*\(--start-pattern\)"),
        (("--timezone", "Bonn"), r"'Bonn' is not a time zone.*\(--timezone\)"),
    ],
)
def test_a_start_that_cannot_be_is_wrong_usage(run, recordings, words, told):
    done = run("score", "recordings", "--model", "model.safetensors", *words, code=2)
    assert re.search(told, done.stderr.replace("\n", " "))


def test_curves_of_a_sheet_share_an_axis_when_asked(run, features, make_features, tmp_path):
    make_features("long", normal=0, abnormal=1, n_clips=60)  # 38 s, and the others 6
    words = ("score", "features/video00.npz", "long", "--model", "model.safetensors", "--sheet")
    run(*words, "own.svg")
    run(*words, "shared.svg", "--shared-axis")
    counts = [(tmp_path / name).read_text().count(">0:30<") for name in ("own.svg", "shared.svg")]
    assert counts == [1, 2]
    assert "--shared-axis does nothing without --sheet" in run(*words[:-1], "--shared-axis").stderr


def test_what_the_best_state_is_picked_on_is_asked_for_before_features_are_read(run, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "a.npz").write_bytes(b"broken")
    for words, answer in ((("test",), "best on test videos"), (("validation", "--validation", "0"), "hold some out")):
        assert answer in run("train", "features", "--keep", *words, code=2).stderr
