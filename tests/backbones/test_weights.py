import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from anomalycli.backbones import download, weights
from anomalycli.backbones.i3d import CROPS, I3D
from anomalycli.backbones.inception_i3d import InceptionI3D
from anomalycli.backbones.weights import Published, fetch
from anomalycli.errors import AnomalyError, UsageError
from anomalycli.features.files import load_features


def saved(seed: int) -> bytes:
    """A file of weights."""
    file = io.BytesIO()
    torch.save({"weight": torch.randn(75_000, generator=torch.Generator().manual_seed(seed))}, file)
    return file.getvalue()


DATA = saved(0)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`, with ranges; each of `server.faults` spoils one answer: a status, or bytes to stop at.

    `server.shift` is by how much Content-Range is wrong; without `server.lengths` there is no Content-Length;
    `server.moved` redirects all requests.
    """

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        if self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved)
            self.end_headers()
            return None
        fault = self.server.faults.pop(0) if self.server.faults else None
        data = self.server.files.get(self.path.lstrip("/"))
        if data is None or (fault and fault >= 400 and fault < 600):
            return self.send_error(fault if data is not None else 404)
        begin = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        if begin >= len(data):
            return self.send_error(416)
        if not self.server.ranges:
            begin = 0
        self.send_response(206 if begin else 200)
        said = begin + self.server.shift
        if begin:
            self.send_header("Content-Range", f"bytes {said}-{len(data) - 1}/{len(data)}")
        if self.server.lengths:
            self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : begin + fault if fault else None])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(running):
    running.files, running.faults, running.asked, running.ranges = {"net.pth": DATA}, [], [], True
    running.shift, running.lengths, running.moved = 0, True, None
    return running


@pytest.fixture
def item(server, tmp_path, monkeypatch):
    """`net`: one file of weights that the server has, its hash published in part."""
    monkeypatch.setenv("ANOMALYCLI_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    published = Published("net", "-", "-", f"{server.url}/net.pth", hashlib.sha256(DATA).hexdigest()[:8], None, "-")
    entries = {"net": published, "free": dataclasses.replace(published, name="free", sha256="")}
    monkeypatch.setattr(weights, "registry", lambda: entries)
    return published


def there(item) -> list[str]:
    return sorted(path.name for path in item.path.parent.iterdir() if path.suffix != ".lock")


def test_what_is_fetched_is_whole_and_fetched_once(item, server):
    seen = []
    assert fetch("net", lambda *now: seen.append(now)).read_bytes() == DATA
    assert seen[-1] == ("net", len(DATA), len(DATA))
    assert fetch("net") == item.path
    assert len(server.asked) == 1
    assert there(item) == ["net.pth", "net.pth.sha256"]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(item, server):
    server.faults = [503, 100_000, 50_000]
    assert fetch("net").read_bytes() == DATA
    assert [asked[1] for asked in server.asked] == [None, None, "bytes=100000-", "bytes=150000-"]


def test_a_run_that_was_killed_is_resumed_by_the_next(item, server):
    item.path.parent.mkdir(parents=True)
    part = item.path.with_name("net.pth.part")
    part.write_bytes(DATA[:1234])
    assert fetch("net").read_bytes() == DATA
    assert server.asked == [("/net.pth", "bytes=1234-")]
    assert not part.exists()


def test_of_two_runs_that_need_a_file_one_fetches_it(item, server):
    slow = threading.Event()
    first = threading.Thread(target=fetch, args=("net", lambda *_: slow.wait(10)))
    second = threading.Thread(target=fetch, args=("net",))
    first.start()
    while not item.path.with_name("net.pth.part").exists():
        time.sleep(0.01)
    second.start()
    time.sleep(0.2)
    slow.set()
    first.join()
    second.join()
    assert item.path.read_bytes() == DATA
    assert len(server.asked) == 1


def test_a_cache_that_cannot_be_written_is_a_sentence(item, server, tmp_path):
    (tmp_path / "home").write_text("a file where the folder belongs")
    with pytest.raises(AnomalyError, match=r"weights cannot be stored there .* ANOMALYCLI_HOME"):
        fetch("net")
    assert server.asked == []


def test_servers_without_ranges_and_parts_that_are_too_long_begin_anew(item, server):
    server.ranges = False
    item.path.parent.mkdir(parents=True)
    part = item.path.with_name("net.pth.part")
    part.write_bytes(DATA[:1234])
    assert fetch("net").read_bytes() == DATA
    item.path.unlink()
    server.ranges = True
    part.write_bytes(DATA + b"more")
    assert fetch("net").read_bytes() == DATA


def test_a_wrong_file_is_refused_and_nothing_of_the_users_is_touched(item, server):
    server.files["net.pth"] = b"a login page"
    with pytest.raises(AnomalyError, match="differs from the published file"):
        fetch("net")
    assert there(item) == []
    item.path.write_bytes(b"PK put here by hand")
    with pytest.raises(AnomalyError, match="Move the file away"):
        fetch("net")
    assert item.path.read_bytes() == b"PK put here by hand"


def test_without_a_published_hash_the_first_file_is_remembered(item, server):
    path = fetch("free")
    path.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(AnomalyError, match=hashlib.sha256(DATA).hexdigest()):
        fetch("free")
    path.unlink()
    server.files["net.pth"] = DATA + b"?"
    with pytest.raises(AnomalyError, match="differs from the published file"):
        fetch("free")


def test_without_a_published_hash_an_error_page_is_not_taken_for_weights(item, server):
    server.files["net.pth"] = b"<html>Log in to this network</html>"
    with pytest.raises(AnomalyError, match="not a weights file"):
        fetch("free")
    server.files["net.pth"] = DATA
    assert fetch("free").read_bytes() == DATA


@pytest.mark.parametrize("wrong", [DATA[:200_000], DATA[100_000:], saved(1)[:-30], b"PK" + bytes(3000)])
def test_without_a_published_hash_what_cannot_be_loaded_is_not_recorded(item, server, wrong):
    server.files["net.pth"], server.lengths = wrong, False  # nothing says that the body is cut short
    with pytest.raises(AnomalyError, match="not a weights file"):
        fetch("free")
    assert there(item) == []
    server.files["net.pth"] = DATA
    assert fetch("free").read_bytes() == DATA


def test_a_part_that_was_not_asked_for_is_not_appended(item, server):
    server.shift = -34
    item.path.parent.mkdir(parents=True)
    item.path.with_name("net.pth.part").write_bytes(DATA[:1234])
    assert fetch("free").read_bytes() == DATA
    assert [asked[1] for asked in server.asked] == ["bytes=1234-", None]


def test_more_than_is_published_is_not_taken(item, server, monkeypatch):
    entries = weights.registry()
    entries["free"] = dataclasses.replace(entries["free"], size=1000)
    with pytest.raises(AnomalyError, match="more than 1000 bytes"):
        fetch("free")
    entries["free"] = dataclasses.replace(entries["free"], size=None)
    server.lengths = False
    monkeypatch.setattr(download, "MOST", 1000)
    with pytest.raises(AnomalyError, match="more than 1000 bytes"):
        fetch("free")
    assert there(item) == []


def test_a_download_that_takes_too_long_ends_and_is_continued(item, server, monkeypatch):
    monkeypatch.setattr(download, "LONGEST", -1.0)
    with pytest.raises(AnomalyError, match="the next try continues"):
        fetch("net")
    monkeypatch.undo()


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/net.pth"])
def test_redirects_to_another_protocol_are_not_followed(item, server, target):
    server.moved = target
    with pytest.raises(AnomalyError, match="cannot be fetched"):
        fetch("net")
    assert there(item) == []


def test_a_redirect_from_https_to_http_is_not_followed():
    request = urllib.request.Request("https://example.org/net.pth")
    with pytest.raises(download.DownloadError, match="redirects from https to http://"):
        download._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/net.pth")


def test_a_mirror_is_a_web_server(item, monkeypatch, tmp_path):
    monkeypatch.setenv("ANOMALYCLI_MIRROR", tmp_path.as_uri())
    with pytest.raises(AnomalyError, match="addresses begin with https://"):
        fetch("net")


def test_a_record_cannot_stand_against_the_published_hash(item):
    item.path.parent.mkdir(parents=True)
    item.path.write_bytes(b"PK evil")
    item.path.with_name("net.pth.sha256").write_text(hashlib.sha256(b"PK evil").hexdigest())
    with pytest.raises(AnomalyError, match="not the expected weights"):
        fetch("net")


def test_offline_says_where_the_file_is_where_it_belongs_and_what_else_there_is(item, server, monkeypatch):
    monkeypatch.setenv("ANOMALYCLI_MIRROR", "http://127.0.0.1:9/mirror/")  # nothing listens there
    with pytest.raises(AnomalyError) as error:
        fetch("net")
    for words in ("http://127.0.0.1:9/mirror/net.pth", item.url, str(item.path), "ANOMALYCLI_MIRROR", "lite or mc3"):
        assert words in str(error.value)
    with pytest.raises(UsageError, match="there are: net, free"):
        fetch("other")


def test_a_file_that_is_not_there_is_asked_for_once(item, server):
    server.files.clear()
    with pytest.raises(AnomalyError, match="404"):
        fetch("net")
    assert len(server.asked) == 1


def test_every_entry_of_the_registry_is_complete():
    for item in weights.registry().values():
        assert item.url.startswith("https://")
        assert item.what
        assert item.licence
        assert item.source
        assert item.sha256 == item.sha256.lower()
    named = weights.published("vggish")
    assert named.sha256 in named.filename
    assert weights.published("i3d").url.endswith("kinetics/I3D_8x8_R50.pyth")


def test_without_home_the_platforms_cache_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("ANOMALYCLI_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert weights.cache_folder() == tmp_path / "anomalycli" / "weights"


@pytest.fixture
def homeless(monkeypatch):
    """A user whom the system does not know, as in a container."""
    pwd = pytest.importorskip("pwd")

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "ANOMALYCLI_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_user_without_a_home_folder_is_told_what_to_set(homeless, call, monkeypatch, tmp_path):
    for words in (("weights", "list"), ("extract", "x.mp4", "--backbone", "i3d")):
        assert "this user has no home folder. Set HOME" in call(*words, code=1).stderr
    monkeypatch.setattr("anomalycli.backbones.int8.PACKAGES", ())
    said = call("extract", "x.mp4", "--precision", "int8", code=2).stderr
    assert "set HOME (--precision)." in said
    monkeypatch.setenv("ANOMALYCLI_HOME", str(tmp_path))
    assert call("weights", "path", "i3d").stdout.startswith(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANOMALYCLI_HOME", "~/kept")  # as a file of variables has it, which no shell reads
    assert call("weights", "path", "i3d").stdout.startswith(str(tmp_path / "home" / "kept"))


# Networks with random weights, in the very format of the published files, from a server to scores.


@pytest.fixture(scope="module")
def published_files(tmp_path_factory):
    """File name -> bytes: names, nesting and serialisation as published, parameters random."""
    from torchvggish.torchvggish import VGG, make_layers

    path = tmp_path_factory.mktemp("published") / "file"

    def saved(value, zipped=True) -> bytes:
        torch.save(value, path, _use_new_zipfile_serialization=zipped)
        data = path.read_bytes()
        path.unlink()
        return data

    torch.manual_seed(0)
    inception = InceptionI3D().state_dict()  # converted before batches were counted
    inception = OrderedDict((k, v) for k, v in inception.items() if "num_batches" not in k)
    rng = np.random.default_rng(0)
    pca = {"pca_eigen_vectors": rng.normal(0, 9, (128, 128)), "pca_means": rng.normal(0, 0.01, (128, 1))}
    return {
        "I3D_8x8_R50.pyth": saved({"model_state": I3D().net.state_dict(), "cfg": "MODEL: I3D", "epoch": 196}),
        "rgb_imagenet.pt": saved(inception, zipped=False),
        "vggish-10086976.pth": saved(VGG(make_layers(), False).state_dict(), zipped=False),
        # as NumPy 1 wrote it
        "vggish_pca_params-970ea276.pth": saved(pca, zipped=False).replace(b"numpy._core.", b"numpy.core."),
    }


@pytest.fixture
def start(server, published_files, tmp_path, tmp_path_factory):
    """The command line in a process of its own; its registry has the hashes of the random files."""
    server.files = published_files
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in published_files.items()}
    script = tmp_path / "cli.py"
    script.write_text(
        "import dataclasses\n"
        "from anomalycli.backbones import weights\n"
        "from anomalycli.cli import main\n"
        f"hashes = {hashes}\n"
        "for name, item in weights.registry().items():\n"
        "    begin = hashes[item.filename][: len(item.sha256)]\n"
        "    weights.registry()[name] = dataclasses.replace(item, sha256=begin, size=None)\n"
        "main()\n"
    )
    home = tmp_path_factory.getbasetemp() / "home"
    env = os.environ | {"ANOMALYCLI_HOME": str(home), "ANOMALYCLI_MIRROR": server.url, "COLUMNS": "200"}

    def start(*words) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, words)],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def run_fake(start):
    def run_fake(*words, code=0) -> tuple[str, str]:
        process = start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, (out, err)
        return out, err

    return run_fake


@pytest.fixture
def make_sounding(make_video):
    """A video of noise with a sound track of noise."""

    def make(name, n_frames=40, seed=0) -> Path:
        rng = np.random.default_rng(seed)
        silent = make_video(f"{name}.silent.mkv", n_frames, paint=lambda i: rng.integers(0, 256, (64, 96, 3), np.uint8))
        path = silent.with_name(Path(name).name)
        with av.open(str(silent)) as source, av.open(str(path), "w") as out:
            picture = out.add_stream_from_template(source.streams.video[0])
            sound = out.add_stream("aac", rate=16000, layout="mono")
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = picture
                    out.mux(packet)
            for start in range(0, n_frames * 640, 1024):
                noise = rng.uniform(-0.5, 0.5, (1, 1024)).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
                frame.rate, frame.pts = 16000, start
                out.mux(sound.encode(frame))
            out.mux(sound.encode())
        silent.unlink()
        return path

    return make


def test_weights_are_fetched_verified_and_found(run_fake, server):
    _, said = run_fake("weights", "fetch", "i3d", "i3d-inception")
    assert "No hash of i3d is published" in said
    assert "No hash of i3d-inception" not in said
    path = Path(run_fake("weights", "path", "i3d")[0].strip())
    assert path.read_bytes() == server.files["I3D_8x8_R50.pyth"]
    _, said = run_fake("weights", "verify")
    assert "i3d: correct" in said
    assert "i3d-inception: correct" in said
    with open(path, "r+b") as file:
        file.write(b"PK?")
    _, said = run_fake("weights", "verify", code=3)
    assert "i3d: wrong" in said
    _, said = run_fake("extract", "x.mp4", "--backbone", "i3d", code=1)
    assert "has changed since its first use" in said
    path.write_bytes(server.files["I3D_8x8_R50.pyth"])
    out, _ = run_fake("weights", "list")
    assert str(path) in out
    assert "https://dl.fbaipublicfiles.com/" in out
    _, said = run_fake("weights", "fetch", "i4d", code=2)
    assert "there are: i3d" in said


def test_from_video_with_sound_to_scores(run_fake, make_sounding, make_video, tmp_path):
    for i, name in enumerate(("normal/a.mp4", "normal/b.mp4", "abnormal/c.mp4")):
        make_sounding(f"videos/{name}", 40, seed=i)
    make_video("videos/abnormal/silent.mp4", 20)
    options = ("--backbone", "i3d", "--size", "32", "--crops", "10", "--audio", "vggish")
    _, said = run_fake("extract", "videos", *options)
    assert "silent.mp4: done (there is no sound track)" in said
    a = load_features(tmp_path / "features" / "normal" / "a.npz")
    silent = load_features(tmp_path / "features" / "abnormal" / "silent.npz")
    assert (a.visual.shape, a.audio.shape, a.sound_missing) == ((3, 10, 2048), (3, 128), None)
    assert (a.kind.audio, a.sound_track, a.crops) == ("vggish-raw", "aac, 16000 Hz, mono", CROPS[10])
    assert a.audio.any(1).all()
    assert len({row.tobytes() for row in a.visual.reshape(-1, 2048)}) == 30
    assert (silent.sound_missing, silent.audio.any()) == ("there is no sound track", False)

    small = ("--width", "16", "--heads", "2", "--feedforward", "32", "--segments", "8", "--steps", "2", "--batch", "2")
    run_fake("train", "features", "-o", "model.safetensors", *small)
    out, said = run_fake("score", "videos/normal/a.mp4", "videos/abnormal", "--model", "model.safetensors", "--json")
    assert len(out.splitlines()) == 3
    assert "silent.mp4: there is no sound track" in said
    assert "a.mp4: there is no sound track" not in said
    from_features, _ = run_fake("score", "features/normal/a.npz", "--model", "model.safetensors", "--json")
    assert json.loads(out.splitlines()[0])["scores"] == json.loads(from_features)["scores"]  # of all ten crops

    run_fake("extract", "videos/normal", "-o", "mute", "--backbone", "i3d", "--size", "32")
    mute = load_features(tmp_path / "mute" / "a.npz")
    assert mute.visual.shape == (3, 1, 2048)
    assert mute.visual == pytest.approx(a.visual[:, :1], abs=1e-5)  # the first of ten is the centre
    _, said = run_fake("score", "mute/a.npz", "--model", "model.safetensors", code=1)
    assert "the model needs them (vggish-raw)" in said
    _, said = run_fake(
        "extract", "videos/normal", "-o", "mute", "--backbone", "i3d", "--size", "32", "--crops", "5", code=2
    )
    assert "overwrite what is there" in said


def test_a_model_of_other_weights_scores_with_these(run_fake, make_sounding, tmp_path):
    make_sounding("videos/normal/a.mp4")
    make_sounding("videos/abnormal/b.mp4", seed=1)
    torch.manual_seed(1)
    torch.save({"model_state": I3D().net.state_dict()}, tmp_path / "mine.pyth")
    run_fake("extract", "videos", "--backbone", "i3d", "--size", "32", "--weights", "mine.pyth")
    small = ("--width", "16", "--heads", "2", "--feedforward", "32", "--segments", "8", "--steps", "2", "--batch", "2")
    run_fake("train", "features", "-o", "model.safetensors", *small)
    _, said = run_fake("score", "videos/normal/a.mp4", "--model", "model.safetensors", code=2)
    assert "trained with weights sha256" in said
    assert "give the weights" in said
    out, _ = run_fake("score", "videos/normal", "--model", "model.safetensors", "--weights", "mine.pyth", "--json")
    ours = json.loads(out)["scores"]
    out, _ = run_fake("score", "features/normal/a.npz", "--model", "model.safetensors", "--json")
    assert ours == json.loads(out)["scores"]


def test_features_of_two_backbones_are_never_mixed_up(run_fake, make_sounding, tmp_path):
    make_sounding("videos/normal/a.mp4")
    make_sounding("videos/abnormal/b.mp4", seed=1)
    run_fake("extract", "videos/normal", "-o", "both/normal", "--backbone", "mc3", "--size", "32")
    path = run_fake("weights", "path", "i3d-inception")[0].strip()
    run_fake("weights", "fetch", "i3d-inception")
    options = ("--backbone", "i3d-inception", "--weights", path, "--crops", "5", "--size", "32")
    run_fake("extract", "videos/abnormal", "-o", "both/abnormal", *options)
    inception = load_features(tmp_path / "both" / "abnormal" / "b.npz")
    mc3 = load_features(tmp_path / "both" / "normal" / "a.npz")
    assert (inception.visual.shape, mc3.visual.shape) == ((3, 5, 1024), (3, 1, 1024))  # of one width
    _, said = run_fake("train", "both", "-o", "model.safetensors", code=2)
    assert "i3d-inception" in said
    assert "mc3" in said
    _, said = run_fake("extract", "videos/normal", "-o", "both/abnormal", *options[:2], "--weights", __file__, code=1)
    assert "not the weights of this network" in said


def test_a_killed_extraction_goes_on_and_the_result_is_the_same(start, run_fake, make_sounding, tmp_path):
    for i in range(4):
        make_sounding(f"videos/{i}.mp4", 64, seed=i)
    options = ("--backbone", "i3d", "--size", "32", "--crops", "10", "--audio", "vggish-pca")
    process = start("extract", "videos", "-o", "killed", *options)
    end = time.monotonic() + 120
    while not (tmp_path / "killed" / "0.npz").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    n_there = len(list((tmp_path / "killed").glob("*.npz")))
    assert 1 <= n_there < 4
    _, said = run_fake("extract", "videos", "-o", "killed", *options)
    assert f"{4 - n_there} done, {n_there} skipped" in said
    run_fake("extract", "videos", "-o", "whole", *options)
    for i in range(4):
        resumed, whole = (load_features(tmp_path / folder / f"{i}.npz") for folder in ("killed", "whole"))
        assert np.array_equal(resumed.visual, whole.visual)
        assert np.array_equal(resumed.audio, whole.audio)
        assert np.array_equal(whole.audio, np.round(whole.audio))
        assert 0 <= whole.audio.min() < whole.audio.max() <= 255
