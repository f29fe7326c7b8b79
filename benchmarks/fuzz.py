"""Thousands of broken videos through the decoder: what becomes of each, and of the process that asks.

    python benchmarks/fuzz.py street-fights/clips                  # 2,000 files
    python benchmarks/fuzz.py street-fights/clips --files 200 --seed 1

Real clips are encoded small (96x64, 30 frames, some with sound) by each codec and container that PyAV can write, and
broken in each way of damage.py in turn, with fixed seeds. Of each, the clips are read, the windows of sound, and frames
as a page shows them, and a part is cut out, all in the decoder's process: it may crash, hang and outgrow its memory,
and each is counted. The process that asks may not: a file must give whole clips, or a VideoError that names it, in
time; it must give the same counts and damage where few frames of a clip are taken; the frames that were counted must be
there to be grabbed; a part that was cut must begin with a frame that can be decoded, or be refused with a VideoError.
Exit code 0 only if all held.
"""

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from damage import WAYS, damaged
from processes import children, resident

from anomalycli.errors import VideoError
from anomalycli.media import READERS
from anomalycli.media.audio import RATE
from anomalycli.media.decoder import Decoder, DecoderSettings
from anomalycli.media.messages import ClipFormat, DecodedClip, Piece, SoundWindows, VideoFacts

SIZE, FRAMES = (96, 64), 30
SHORT_SIDE, MULTIPLE = 64, 16
TAKEN = (0, 4, 8, 12)  # frames of a clip, where not all are
SOUND = 0.96  # seconds, VGGish's window
FATES = {  # and the words by which the decoder's error tells them
    "whole": None,
    "in part": None,
    "refused": None,
    "crash": "crashed",
    "hang": "no progress",
    "memory": "a decoder may use",
    "broken promise": None,
}
SOURCES = {  # file: codec of the picture, its options, codec of the sound
    "h264.mp4": ("libx264", {}, "aac"),
    "h264_b.mov": ("libx264", {"bf": "3", "g": "15"}, None),
    "h264.mkv": ("libx264", {"g": "10"}, "libopus"),
    "h264.ts": ("libx264", {"g": "10"}, "aac"),
    "h264.flv": ("libx264", {}, "aac"),
    "h264.h264": ("libx264", {}, None),
    "hevc.mp4": ("libx265", {"x265-params": "log-level=none"}, None),
    "hevc.ts": ("libx265", {"x265-params": "log-level=none:keyint=10"}, "mp2"),
    "av1.mkv": ("libsvtav1", {"preset": "12"}, "libopus"),
    "vp8.webm": ("libvpx", {"deadline": "realtime"}, "libopus"),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}, None),
    "mpeg4.avi": ("mpeg4", {}, "libmp3lame"),
    "mpeg4.mp4": ("mpeg4", {"g": "5"}, None),
    "msmpeg4.avi": ("msmpeg4", {}, None),
    "mpeg1.mpg": ("mpeg1video", {}, "mp2"),
    "mpeg2.ts": ("mpeg2video", {"bf": "2"}, "mp2"),
    "mjpeg.avi": ("mjpeg", {"strict": "-1"}, "pcm_s16le"),
    "mjpeg.mov": ("mjpeg", {"strict": "-1"}, None),
    "wmv2.wmv": ("wmv2", {}, None),
    "flv1.flv": ("flv", {}, None),
    "ffv1.mkv": ("ffv1", {}, None),
    "prores.mov": ("prores_ks", {}, None),
}


def encode(clip: Path, target: Path, codec: str, options: dict, sound: str | None) -> None:
    """The first FRAMES frames of `clip`, small, and noise for sound."""
    with av.open(str(clip)) as source, av.open(str(target), "w") as output:
        picture = output.add_stream(codec, rate=25, options={"threads": "1"} | options)
        picture.width, picture.height = SIZE
        picture.pix_fmt = picture.codec_context.codec.video_formats[0].name
        track = sound and output.add_stream(sound, rate=48000)
        for number, frame in enumerate(islice(source.decode(video=0), FRAMES)):
            frame = frame.reformat(*SIZE, picture.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(picture.encode(frame))
        if sound:
            samples = np.random.default_rng(0).integers(-3000, 3000, (1, 48000 * 2 * FRAMES // 25), np.int16)
            noise = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            noise.sample_rate, noise.pts = 48000, 0
            output.mux(track.encode(noise))
            output.mux(track.encode())
        output.mux(picture.encode())


def make_sources(clips: Path, folder: Path) -> list[Path]:
    """Each of SOURCES in `folder`, of another clip each as far as there are."""
    found = sorted(path for path in clips.rglob("*.mp4"))
    for number, (name, how) in enumerate(SOURCES.items()):
        encode(found[number * len(found) // len(SOURCES)], folder / name, *how)
    return [folder / name for name in SOURCES]


class Watch(threading.Thread):
    """Looks 50 times per second which children this process has, and keeps the largest memory of any, in MB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.seen = 0.0, set()
        self.start()

    def run(self):
        while True:
            now = children(os.getpid())
            self.seen.update(now)
            self.peak = max([self.peak, *(resident(pid) / 2**20 for pid in now)])
            time.sleep(0.02)


def read(decoder: Decoder, path: Path) -> str:
    """What became of the file, a key of FATES; ValueError where the decoder breaks its promise."""
    n_clips = n_windows = 0
    first = clip = None
    try:
        for message in decoder.clips(path, ClipFormat(16, SHORT_SIDE, MULTIPLE)):
            if not isinstance(message, DecodedClip):
                facts = message
                break
            clip = message.frames
            if clip.dtype != np.uint8 or clip.ndim != 4 or clip.shape[0] != 16 or clip.shape[3] != 3:
                raise ValueError(f"a clip of {clip.dtype} {clip.shape}")
            n_clips += 1
            first = clip[0] if first is None else first
        *_, fewer = decoder.clips(path, ClipFormat(16, SHORT_SIDE, MULTIPLE, TAKEN))
        for message in decoder.windows(path, facts.ends - SOUND, round(SOUND * RATE)):
            n_windows += len(message.samples) if isinstance(message, SoundWindows) else 0
    except VideoError as error:
        if path.name not in str(error):
            raise ValueError(f"the error does not name the file: {error}") from error
        reason = str(error).replace(str(path), "").replace(path.name, "")
        return next((fate for fate, words in FATES.items() if words and words in reason), "refused")
    if not n_clips or not n_clips == n_windows == -(-facts.n_frames // 16):
        raise ValueError(f"{n_clips} clips and {n_windows} windows of sound of {facts.n_frames} frames")
    if (fewer.n_frames, fewer.damage, fewer.lost) != (facts.n_frames, facts.damage, facts.lost):
        raise ValueError(
            f"{facts.n_frames} frames, {facts.damage}, and {fewer.n_frames}, {fewer.damage}, if few are taken"
        )
    grab_and_cut(decoder, path, facts, (first, clip[(facts.n_frames - 1) % 16]))
    return "in part" if facts.damage else "whole"


def grab_and_cut(decoder: Decoder, path: Path, facts: VideoFacts, edges: tuple[np.ndarray, np.ndarray]) -> None:
    """Raises ValueError where frames differ from `edges`, the first and last that were read, or a cut does not play."""
    last = facts.n_frames - 1
    grabbed = decoder.grab(path, [0, last, last + 1], SHORT_SIDE)
    if set(grabbed) != {0, last}:
        raise ValueError(f"frames {sorted(grabbed)} of {facts.n_frames} were grabbed")
    for number, frame in zip((0, last), edges, strict=True):
        if grabbed[number].shape == frame.shape and not np.array_equal(grabbed[number], frame):
            raise ValueError(f"frame {number} that was grabbed is not the one that was read")
    times = np.arange(facts.n_frames) / facts.fps if facts.times is None else facts.times
    start, end = facts.n_frames // 3, max(facts.n_frames // 3 + 1, 2 * facts.n_frames // 3)
    times = np.append(times[start:end], times[end - 1] + 1 / facts.fps)
    target = path.with_suffix(".part")
    try:
        decoder.cut(path, [Piece(str(target), start, tuple(times.tolist()))])
        with av.open(str(target)) as container:
            next(container.decode(video=0))
    except VideoError as error:
        if path.name not in str(error):
            raise ValueError(f"the error does not name the file: {error}") from error
    except (av.error.FFmpegError, StopIteration) as error:
        raise ValueError(f"what was cut cannot be played: {error!r}") from error
    finally:
        target.unlink(missing_ok=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="folder of real clips, .mp4")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stall", type=float, default=10.0, help="seconds without progress that count as a hang")
    parser.add_argument("--memory", type=int, default=1024, help="MB that the child may use")
    parser.add_argument("--reader", choices=READERS, default="auto")
    parser.add_argument("--keep", type=Path, help="folder for files that crash, hang or outgrow the child")
    args = parser.parse_args()
    fates = {way: Counter() for way in WAYS}
    broken_promises, slowest = [], (0.0, "")
    os.environ["SVT_LOG"] = "1"  # that encoder is the one that chats
    settings = DecoderSettings(args.stall, args.memory, args.reader)
    watch, begin = Watch(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Decoder(settings) as decoder:
        sources = make_sources(args.clips, Path(folder))
        prepared = time.perf_counter() - begin
        for number in range(args.files):
            way = list(WAYS)[number % len(WAYS)]
            source = sources[number // len(WAYS) % len(sources)]
            path = Path(folder) / f"{number:05}_{way}_{source.name}"
            path.write_bytes(damaged(source.read_bytes(), way, args.seed, number))
            start = time.perf_counter()
            try:
                fate = read(decoder, path)
            except Exception as error:
                fate = "broken promise"
                broken_promises.append(f"{path.name}: {error!r}")
            fates[way][fate] += 1
            slowest = max(slowest, (time.perf_counter() - start, path.name))
            if args.keep and fate in ("crash", "hang", "memory", "broken promise"):
                args.keep.mkdir(parents=True, exist_ok=True)
                (args.keep / f"{fate.replace(' ', '_')}_{path.name}").write_bytes(path.read_bytes())
            path.unlink()
        seconds = time.perf_counter() - begin - prepared
    print("| damage | " + " | ".join(FATES) + " |\n|---|" + "---:|" * len(FATES))
    for way, counts in [*fates.items(), ("all", sum(fates.values(), Counter()))]:
        print(f"| {way.replace('_', ' ')} | " + " | ".join(str(counts[fate] or "") for fate in FATES) + " |")
    main_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{args.files} files of {len(sources)} sources in {seconds:.0f} s, seed {args.seed}")
    print(f"slowest: {slowest[0]:.1f} s, {slowest[1]} (a hang is one of {args.stall:g} s without progress)")
    print(f"decoding processes that died and were replaced: {len(watch.seen) - 1}")
    print(f"peak memory: child {watch.peak:.0f} MB (bound {args.memory}), this process {main_peak:.0f} MB")
    in_bounds = watch.peak <= 1.25 * args.memory and slowest[0] < 3 * args.stall + 10
    print(*broken_promises or ["no broken promise"], sep="\n")
    sys.exit(0 if in_bounds and not broken_promises else 1)


if __name__ == "__main__":
    main()
