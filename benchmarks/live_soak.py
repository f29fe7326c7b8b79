"""A day of `watch` in simulated time: `python benchmarks/live_soak.py VIDEOS --hours 24 --work FOLDER`.

VIDEOS is a folder of videos with ground_truth.csv. They are encoded small, joined to loops of some minutes, and sent
over HTTP as MPEG-TS by two cameras, as fast as `watch` scores them. The clock of all processes is that of the cameras.
Connections are cut, the system's clock is set, streams come back with another size and frame rate, and the process of
`watch` is killed and started again on the same database.

Each picture has its number burnt in, so it is known when every scored frame was taken. A mark beside it shows where the
ground truth has an event. The network of this test reads nothing else, so it costs nearly no time. `--model fights`
runs the real model instead; its events are only counted.

Prints a report as JSON: events that happened, were found, were lost and doubled; the largest error of a frame's time;
memory of `watch`.
"""

import argparse
import json
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from live_cameras import VARIANTS, Camera, Loop, encoded
from live_soak_report import report
from live_soak_watch import CLOCK, mark_model

HERE = Path(__file__).resolve().parent
LEAD = 4.6  # simulated seconds that a camera is ahead of the scores: less than what `watch` lets wait
LEAD_FRAMES = 24  # at least so many frames
BEGIN = 1_800_000_000.0  # the simulated system time at the start
PATIENCE = 240.0  # real seconds without any progress after which the run fails; not counted while it is stopped
PAUSE = 0.0005  # real seconds between looks at what is scored
CUSTOMIZE = """import os
if "SOAK_CLOCK" in os.environ:
    import asyncio, queue, selectors, subprocess, threading  # these keep the real clock
    import sys
    sys.path.insert(0, os.environ["SOAK_CODE"])
    import live_soak_watch
    live_soak_watch.simulate()
"""


class Run:
    """Cameras, `watch`, and what happens to them. All times in simulated seconds from the start."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.work = args, args.work
        self.now, self.offset = 0.0, BEGIN
        with (self.work / "clock").open("wb") as file:
            file.write(CLOCK.pack(0.0, BEGIN, 0.0, 0.0))
        with (self.work / "clock").open("r+b") as file:
            self.shared = mmap.mmap(file.fileno(), CLOCK.size)
        (self.work / "site").mkdir(exist_ok=True)
        (self.work / "site" / "sitecustomize.py").write_text(CUSTOMIZE)
        self.cameras = []
        for number in range(2):
            loops = {}
            for variant, (_, fps) in VARIANTS.items():
                path = encoded(args.videos, self.work / f"loop{number}{variant}.ts", variant, args.loop, 7 * number)
                loops[variant] = Loop(path, fps * args.rate / VARIANTS["a"][1])
            self.cameras.append(Camera(number, loops, self.work / f"frames{number}"))
        self.server = socket.create_server(("127.0.0.1", 0))
        self.plan = self.planned()
        self.memory: list[tuple[float, float]] = []
        self.process: subprocess.Popen | None = None
        self.done: dict[str, int] = {}

    def planned(self) -> list[tuple[float, str]]:
        """What happens when: kills in the first half, so that the second shows how memory grows."""
        rng, seconds, args = np.random.default_rng(self.args.seed), self.args.hours * 3600, self.args
        self.rng = rng
        plan = [(t, "kill") for t in rng.uniform(60, seconds / 2, args.kills)]
        plan += [(t, "cut") for t in rng.uniform(60, seconds, args.cuts)]
        plan += [(t, "jump") for t in rng.uniform(60, seconds, args.jumps)]
        return sorted(plan)

    def start(self) -> None:
        """Start `watch`, and wait until it looks at all cameras."""
        sources = [
            f"{camera.number}=http://127.0.0.1:{self.server.getsockname()[1]}/{camera.number}"
            for camera in self.cameras
        ]
        model = self.args.model or str(self.work / "mark.safetensors")
        words = [*sources, "--model", model, "--database", str(self.work / "events.db")]
        folders = [str(self.work / "site"), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = os.environ | {
            "SOAK_CLOCK": str(self.work / "clock"),
            "SOAK_CODE": str(HERE),
            "PYTHONPATH": os.pathsep.join(folders),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-c", "import sys, live_soak_watch; live_soak_watch.watch(*sys.argv[1:])"]
        with (self.work / "watch.out").open("ab") as out, (self.work / "watch.err").open("ab") as err:
            self.process = subprocess.Popen(
                [*command, str(self.work / "scored"), *words], env=env, stdout=out, stderr=err
            )
        self.gather(refused=0)

    def gather(self, refused: int = 1) -> None:
        """Wait, while the clock stands, until each camera is looked at.

        The first try of each is refused: its process may have begun before the clock stood.
        """
        self.server.settimeout(1)
        tries = 0
        refusals = {camera: refused for camera in self.cameras if camera.socket is None}
        while any(camera.socket is None for camera in self.cameras):
            assert self.process and self.process.poll() is None, "watch has ended"
            try:
                connection, _ = self.server.accept()
            except TimeoutError:
                tries += 1
                if tries > PATIENCE:
                    raise
                continue
            connection.settimeout(3600)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = connection.recv(10_000).decode()
            camera = self.cameras[int(request.split()[1].strip("/"))]
            if refusals.get(camera, refused) > 0:
                refusals[camera] = refusals.get(camera, refused) - 1
                camera.cut()
                connection.close()
                continue
            camera.cut()
            struct.pack_into("d", self.shared, 16 + 8 * camera.number, 0.0)
            camera.due = self.now  # its first frame is taken at once
            camera.connect(connection, self.now + self.offset)

    def move(self, until: float, away: tuple[Camera, ...] = ()) -> None:
        """Let time pass. Each camera waits while what it sent is not scored; those that are away are not looked at."""
        while True:
            camera = min(self.cameras, key=lambda one: one.due)
            if camera.due >= until:
                return
            if camera.socket:
                self.wait_for(camera)
            if camera.socket is None and camera not in away:
                self.gather()
            self.now = camera.due
            struct.pack_into("d", self.shared, 0, self.now)
            camera.step(self.offset)

    def wait_for(self, camera: Camera) -> None:
        waits = 0
        while camera.socket:
            scored = max(struct.unpack_from("d", self.shared, 16 + 8 * camera.number)[0], camera.begun)
            if scored > camera.due + self.offset:  # by a clock that was set since
                scored = camera.begun
            if camera.due + self.offset - scored < max(LEAD, LEAD_FRAMES / camera.loop.fps):
                return
            if camera.is_left():
                camera.cut()
                return
            waits += 1
            if waits > PATIENCE / PAUSE:
                raise TimeoutError(f"camera {camera.number}: nothing is scored any more, at {self.now:.0f} s")
            time.sleep(PAUSE)

    def look(self) -> None:
        assert self.process
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        self.memory.append((round(self.now / 3600, 2), round(pages * 4096 / 2**20, 1)))

    def run(self) -> None:
        """All of it."""
        if not self.args.model:
            mark_model(self.work / "mark.safetensors")
        self.start()
        began, told = time.monotonic(), 0.0
        for at, what in [*self.plan, (self.args.hours * 3600, "end")]:
            while self.now < at - 60:
                self.move(min(at, self.now + 60))
                self.look()
                if self.now - told > 1800:
                    told = self.now
                    print(
                        f"{self.now / 3600:.1f} h, {time.monotonic() - began:.0f} s, {self.done}, {self.memory[-1:]}",
                        flush=True,
                    )
            self.move(at)
            if what != "end":
                getattr(self, what)()
                self.done[what] = self.done.get(what, 0) + 1
        for camera in self.cameras:
            camera.cut()
            camera.log.close()
        assert self.process
        time.sleep(5)
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def cut(self) -> None:
        """Cut one connection; the camera comes back after a while, sometimes as another one."""
        camera = self.cameras[int(self.rng.integers(2))]
        camera.cut(hard=bool(self.rng.random() < 0.5))
        self.move(self.now + float(self.rng.choice([0.2, 2, 5, 12, 25, 45, 90])), (camera,))
        if self.rng.random() < 0.4:
            camera.change("b" if camera.variant == "a" else "a")
        self.gather()

    def kill(self) -> None:
        """Kill `watch`, and start it again after a while."""
        assert self.process
        self.process.kill()
        self.process.wait()
        for camera in self.cameras:
            camera.cut()
        self.move(self.now + float(self.rng.choice([1, 5, 15, 40, 100])), tuple(self.cameras))
        self.start()

    def jump(self) -> None:
        """Set the system's clock, at a moment without events."""
        while not all(camera.is_calm() for camera in self.cameras):
            self.move(self.now + 1)
        self.offset += float(self.rng.choice([-5, -3, 5, 60, 3600]))
        struct.pack_into("d", self.shared, 8, self.offset)
        for camera in self.cameras:
            camera.begun = self.now + self.offset  # scores of the old clock say nothing
        struct.pack_into("dd", self.shared, 16, 0.0, 0.0)
        self.move(self.now + 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "videos", type=Path, help="folder of videos fight_*.mp4 and normal_*.mp4, with ground_truth.csv"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is written; must be empty")
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument(
        "--rate", type=float, default=25, help="frames per second of the cameras; the videos are slowed down"
    )
    parser.add_argument(
        "--loop", type=float, default=400, help="seconds of video (at 25 frames/s) that a camera repeats"
    )
    parser.add_argument("--cuts", type=int, default=50)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jumps", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="model to run instead of the one that reads the mark")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    for name in (
        "scored",
        "frames0",
        "frames1",
        "events.db",
        "events.db-wal",
        "events.db-shm",
        "watch.out",
        "watch.err",
    ):
        (args.work / name).unlink(missing_ok=True)
    run = Run(args)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        run.run()
    finally:
        if run.process and run.process.poll() is None:
            run.process.kill()
        for camera in run.cameras:
            camera.log.close()
        found = report(args.work, run.memory, run.done)
        (args.work / "report.json").write_text(json.dumps(found, indent=1))
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
