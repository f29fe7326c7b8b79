"""The command `review`, as a process."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

from helpers import result_of

from anomalycli.export.report import write_report


def test_review_prints_an_address_that_works_and_ends_with_ctrl_c(tmp_path):
    write_report(result_of([(10, 35)], 100, 25), tmp_path / "clip.html")
    words = [sys.executable, "-m", "anomalycli", "review", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert "Open this address in a browser" in process.stderr.readline()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=\S+", url)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with opener.open(url, timeout=10) as response:
            assert "clip.mp4" in response.read().decode()
        os.kill(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=20)
        assert process.returncode == 0 and "labels.csv" in messages
    finally:
        process.kill()
        process.wait()


def test_a_folder_without_pages_is_refused(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "there is no page in this folder" in run("review", "empty", code=2).stderr
