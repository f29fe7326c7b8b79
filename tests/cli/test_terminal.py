"""Messages on the terminal and in the log: hostile names, narrow encodings, closed and broken streams."""

import os
import subprocess
import sys

import pytest

from anomalycli.cli.terminal import complain, fault, log, set_up_messages

HOSTILE = [b"a\x1b[2J.mp4", b"b\nError: forged.mp4", b"c\xff.mp4", "d\u202egpm.mp4".encode(), "e\u4e2d.mp4".encode()]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_of_files_reach_the_terminal_as_one_harmless_line(tmp_path, name, encoding):
    for option, message in ((b"--config", b"cannot be read"), (b"--ground-truth", b"does not exist")):
        done = subprocess.run(
            [os.fsencode(sys.executable), b"-m", b"anomalycli", b"score", b"x.mp4", option, name],
            cwd=tmp_path,
            env=os.environ | {"PYTHONIOENCODING": encoding, "COLUMNS": "200", "PYTHONUTF8": "1"},
            capture_output=True,
        )
        assert done.returncode == 2 and message in done.stderr, done
        assert b"Traceback" not in done.stderr and b"This is a bug" not in done.stderr
        assert b"\x1b" not in done.stderr and "\u202e".encode() not in done.stderr
    assert len(done.stderr.splitlines()) >= 3  # usage, hint and error
    assert not any(part.startswith(b"Error: forged") for part in done.stderr.splitlines()[:-1])


@pytest.mark.parametrize("name", [os.fsdecode(name) for name in HOSTILE], ids=ascii)
def test_names_of_files_reach_the_log_as_one_line(tmp_path, name):
    set_up_messages(log_file=tmp_path / "log.txt")
    try:
        complain(f"{name}: damaged")
        log.debug(f"{name}: 10 clips")
    finally:
        log.removeHandler(log.handlers[-1])
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and lines[0].endswith("mp4: damaged") and lines[1].endswith("mp4: 10 clips")
    assert not any(character in "".join(lines) for character in "\x1b\u202e")


def test_names_that_look_like_markup_are_printed_as_they_are(capsys):
    fault("failed", "[red]a[/].mp4 :warning:: damaged")
    assert capsys.readouterr().err == "failed  [red]a[/].mp4 :warning:: damaged\n"


def test_a_url_is_called_one(run):
    for url in ("rtsp://camera.local/stream", "https://example.org/a.mp4", "s3://bucket/a.mp4"):
        told = run("score", url, code=2).stderr
        assert f"{url}: this is a URL" in told and "no such file" not in told
        assert "this is a URL" in run("extract", url, code=2).stderr


def test_a_closed_stdin_is_a_sentence(tmp_path):
    line = f"{sys.executable} -m anomalycli score - <&-"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard input is closed" in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">/dev/full", "| true; exit ${PIPESTATUS[0]}"])
def test_closed_full_and_broken_outputs_end_without_a_traceback(tmp_path, redirection):
    line = f"{sys.executable} -m anomalycli weights list {redirection}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "This is a bug" not in done.stderr and "Exception" not in done.stderr
    assert done.returncode in (0, 1)
    if redirection == ">/dev/full":
        assert done.returncode == 1 and "No space left on device" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that is in use")
def test_a_current_folder_that_was_deleted_is_a_sentence(tmp_path):
    line = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -P -m anomalycli train /nowhere"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "The current folder is not there any more" in done.stderr


def test_ctrl_c_while_modules_are_imported_is_no_traceback(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    for words in (["-m", "anomalycli"], ["-c", "from anomalycli.__main__ import main; main()"]):  # as a script has it
        done = subprocess.run(
            [sys.executable, *words, "score", "x.mp4"],
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
def test_names_beyond_an_ascii_locale_are_found_in_lists_and_written(tmp_path):
    (tmp_path / "é🎉.mp4").touch()
    (tmp_path / "list.txt").write_bytes("é🎉.mp4\n".encode("utf-16"))
    code = "from anomalycli.inputs import expand; from anomalycli.storage import write_file"
    code += "; write_file(*[path.with_suffix('.csv') for path in expand(['@list.txt']) if path.exists()], 'x')"
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "é🎉.csv").read_text() == "x"


def test_lists_come_from_process_substitution(tmp_path):
    line = f"{sys.executable} -m anomalycli score @<(echo gone.mp4) --model gone.safetensors"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "gone.mp4: there is no such file" in done.stderr


def test_an_error_of_the_system_names_the_file_and_is_no_bug(monkeypatch, capsys):
    import anomalycli.cli as command_line

    def fail(**_words):
        raise PermissionError(13, "Permission denied", "scores.csv")

    monkeypatch.setattr(command_line.cli, "main", fail)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == "Error: scores.csv: Permission denied.\n"
