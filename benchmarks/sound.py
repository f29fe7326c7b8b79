"""Speed of the audio front end on one core, relative to real time, without its network.

    python benchmarks/sound.py
    python benchmarks/sound.py VIDEO

Decoding, resampling to 16 kHz, cutting one window per clip, and VGGish's log-mel patches, as in `extract --audio
vggish`. Without VIDEO: ten minutes of noise, AAC, stereo, 44.1 kHz. Measured in CPU time, which does not depend on
other load.
"""

import argparse
import os
import tempfile
import time
from itertools import islice
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before NumPy reads them

import av
import numpy as np

from anomalycli.backbones.vggish import LENGTH, log_mel
from anomalycli.media.audio import Sound
from anomalycli.media.decoder_worker import SOUND_BLOCK

SECONDS, RATE = 600, 44_100


def noise(path: Path) -> Path:
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=RATE, layout="stereo")
        for second in range(SECONDS):
            frame = av.AudioFrame.from_ndarray(rng.normal(0, 0.1, (2, RATE)).astype(np.float32), "fltp", "stereo")
            frame.rate, frame.pts = RATE, second * RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.video or noise(Path(folder) / "noise.mp4")
        with av.open(str(path)) as container:
            seconds = container.duration / av.time_base
        log_mel(np.zeros((1, LENGTH), np.float32))  # imports
        begin = time.process_time()
        windows = Sound(path).windows(np.arange(seconds * 25 // 16) * 16 / 25, LENGTH)
        while batch := list(islice(windows, SOUND_BLOCK)):
            log_mel(np.nan_to_num(np.stack(batch)))
        print(f"{seconds:.0f} s of sound: {seconds / (time.process_time() - begin):.0f} times real time on one core")


if __name__ == "__main__":
    main()
