"""Several machines, several jobs, places that are no folders: one set of features, one report."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import kind

from anomalycli.backbones import Extractor
from anomalycli.errors import AnomalyError, UsageError
from anomalycli.extraction import ray_engine as on_cluster
from anomalycli.extraction.job import extract
from anomalycli.extraction.run_report import ExtractionOutcome
from anomalycli.extraction.settings import ExtractionSettings
from anomalycli.inputs import Input
from anomalycli.storage import path_or_url

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}
SETTINGS = {"backbone": "mc3", "device": "auto", "precision": "auto", "size": 32}


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of one node, on loopback."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture
def videos(make_video, tmp_path) -> Path:
    for i in range(8):
        make_video(f"videos/v{i}.mp4", 320 + 16 * i)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"")
    return tmp_path / "videos"


def decoders_below(parent: int) -> list[int]:
    """Processes that decode, among the descendants of `parent`."""
    parents, decoders = {}, []
    for entry in Path("/proc").iterdir():
        try:
            process = int(entry.name)
            parents[process] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if b"anomalycli.media.decoder_worker" in (entry / "cmdline").read_bytes():
                decoders.append(process)
        except (ValueError, OSError):
            continue

    def is_below(process: int) -> bool:
        return process == parent or (process in parents and is_below(parents[process]))

    return [process for process in decoders if is_below(process)]


def raylet(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def wait_for(what, process: subprocess.Popen, seconds: float = 120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.npz")}


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_lost_nodes_files_are_made_elsewhere(cluster, videos, run, start, tmp_path):
    run("extract", videos, "-o", "here", "--size", "32", code=3, OMP_NUM_THREADS="1")  # as a node of one CPU
    node = cluster.add_node(**NODE)
    line = ("extract", videos, "-o", "there", "--size", "32", "--engine", "ray", "--address", cluster.address)
    going = start(*line, "-v")
    wait_for(lambda: decoders_below(raylet(node)), going)
    cluster.remove_node(node, allow_graceful=False)
    told = going.communicate(timeout=300)[1]
    assert going.returncode == 3, told
    assert int(re.search(r"A worker was lost .*; (\d+) of its files", told)[1])
    assert "bad.mp4: the file is empty" in told and "8 done, 1 failed" in told
    assert len(contents(tmp_path / "there")) == 8
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("here", "there")]
    for report in reports:
        del report["wall_seconds"], report["times_real_time"]
        for entry in report["files"]:
            note = entry.pop("note") or ""  # the lost node's clips may be there still
            assert re.fullmatch(r"(its first \d+ clips in a run that was stopped)?", note)
    assert reports[0] == reports[1]


def test_a_lost_head_is_a_sentence(monkeypatch):
    monkeypatch.setattr(on_cluster.time, "sleep", lambda seconds: None)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        on_cluster._check_head(address)
    with pytest.raises(AnomalyError, match=rf"head of the cluster, {address}, was lost .* again to resume"):
        on_cluster._check_head(address)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_ctrl_c_ends_a_cluster_run_at_once_and_the_same_command_goes_on(cluster, videos, run, start, tmp_path):
    for name in ("av", "torchvision", "anomalycli_backbones", "queue"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write(__name__)\n")
    line = ("extract", videos, "-o", "out", "--size", "32", "--engine", "ray", "--address", cluster.address)
    going = start(*line)
    wait_for(lambda: len(contents(tmp_path / "out")) > 2, going)
    going.send_signal(signal.SIGINT)
    told = going.communicate(timeout=60)[1]  # a second or two where the machine is idle
    assert going.returncode == 130 and "Interrupted" in told, told
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["complete"] is False and report["counts"]["done"]
    end = time.monotonic() + 30
    while decoders_below(raylet(cluster.head_node)):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not (tmp_path / "executed").exists()  # modules beside the videos are nobody's
    there = len(contents(tmp_path / "out"))
    assert f"{8 - there} done, {there} skipped, 1 failed" in run(*line, code=3).stderr


def outcomes(cluster, names: list[str], folder: Path) -> list[ExtractionOutcome]:
    """Of a run of the engine alone, whose workers are whatever `Worker` is."""
    targets = {Input(folder / f"{name}.mp4", name): folder / f"{name}.npz" for name in names}
    return [*on_cluster.engine(SETTINGS, cluster.address)(targets, SimpleNamespace(kind=kind()), ExtractionSettings())]


def test_a_file_that_ends_its_worker_takes_no_other_with_it(cluster, tmp_path, monkeypatch):
    class Worker:
        def __init__(self, settings, kind):
            pass

        def make(self, targets, settings):
            for item in targets:
                if item.name == "fatal":
                    os._exit(1)
                yield ExtractionOutcome(item.path, "done")

    monkeypatch.setattr(on_cluster, "Worker", Worker)
    monkeypatch.setattr(on_cluster, "SOME", 3)
    names = ["a", "b", "fatal", "c", "d", "e", "f"]
    made = {outcome.path.stem: outcome for outcome in outcomes(cluster, names, tmp_path)}
    assert sorted(made) == sorted(names)
    assert [name for name, outcome in made.items() if outcome.status == "failed"] == ["fatal"]
    assert "fatal.mp4: 3 workers were lost over it" in made["fatal"].reason


def test_what_goes_wrong_on_a_node_is_told(cluster, tmp_path, monkeypatch):
    class Unfit:
        def __init__(self, settings, kind):
            os._exit(1)

        def make(self, targets, settings):
            yield

    class Lacking:
        def __init__(self, settings, kind):
            pass

        def make(self, targets, settings):
            raise UsageError("no weights here")
            yield

    monkeypatch.setattr(on_cluster, "Worker", Unfit)
    with pytest.raises(AnomalyError, match="No worker starts on the cluster: "):
        outcomes(cluster, ["a"], tmp_path)
    monkeypatch.setattr(on_cluster, "Worker", Lacking)
    with pytest.raises(UsageError, match=r"^no weights here$"):
        outcomes(cluster, ["a"], tmp_path)


def test_a_node_that_makes_other_features_is_refused():
    worker = on_cluster.Worker(SETTINGS, Extractor("mc3", "cpu", size=48).kind)
    with pytest.raises(AnomalyError, match="works with size 32, and this run with size 48"):
        next(worker.make({}, ExtractionSettings()))


def test_what_cannot_be_asked_of_a_cluster_is_said(monkeypatch, run):
    assert "needs the engine ray (--address, --engine)" in run("extract", "x.mp4", "--address", "auto", code=2).stderr
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'anomalycli[ray]'")):
        on_cluster.engine(SETTINGS)
    monkeypatch.undo()
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    with pytest.raises(UsageError, match="without an address"):
        on_cluster.engine(SETTINGS, "ray://head:10001")
    with pytest.raises(UsageError, match="int8"):
        on_cluster.engine(SETTINGS | {"precision": "int8"})
    with pytest.raises(AnomalyError, match=r"127\.0\.0\.1:1: no Ray cluster answers there"):
        on_cluster.engine(SETTINGS, "127.0.0.1:1")


def test_shards_in_one_folder_make_one_report(make_video, start, tmp_path):
    names = {f"v{i}" for i in range(6)}
    for name in names:
        make_video(f"videos/{name}.mp4", 20)
    parts = [start("extract", "videos", "-o", "out", "--size", "32", "--shard", f"{i}/3") for i in (1, 2, 3)]
    for part in parts:
        assert part.wait(300) == 0, part.communicate()
    assert contents(tmp_path / "out").keys() == {f"{name}.npz" for name in names}
    reports = [json.loads((tmp_path / "out" / f"report.{i}-of-3.json").read_text()) for i in (1, 2, 3)]
    whole = json.loads((tmp_path / "out" / "report.json").read_text())
    assert all(0 < report["counts"]["done"] < 6 for report in reports)
    assert sorted(Path(file["path"]).stem for report in reports for file in report["files"]) == sorted(names)
    assert sorted(Path(file["path"]).stem for file in whole["files"]) == sorted(names)
    assert whole["counts"]["done"] == 6 and whole["complete"]


@pytest.mark.parametrize("layout", ["npz", "xd"])
def test_features_go_to_a_url(make_video, tmp_path, layout):
    upath = pytest.importorskip("upath", reason="the extra 'ray' is not installed")
    make_video("normal/a.mp4", 40)
    make_video("normal/b.mp4", 20)
    extractor = Extractor("mc3", "cpu", size=32)
    url = f"memory://{tmp_path.name}/features"
    for status in ("done", "skipped"):
        made = extract([tmp_path / "normal"], url, extractor, ExtractionSettings(layout=layout))
        assert [outcome.status for outcome in made] == [status, status]
    [*_] = extract([tmp_path / "normal"], tmp_path / "out", extractor, ExtractionSettings(layout=layout))
    [*_] = extract([tmp_path / "normal"], f"file://{tmp_path}/local", extractor, ExtractionSettings(layout=layout))
    folders = [upath.UPath(url), tmp_path / "out", tmp_path / "local"]
    there, here, local = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert there.keys() == here.keys() == local.keys() and "report.json" in here
    for name in here.keys() - {"report.json"}:
        assert there[name] == here[name] == local[name]
    assert json.loads(there["report.json"])["counts"]["skipped"] == 2


def test_urls_that_nothing_knows_are_refused():
    pytest.importorskip("upath", reason="the extra 'ray' is not installed")
    with pytest.raises(UsageError, match="foo://bucket/x: it cannot be reached"):
        path_or_url("foo://bucket/x")
