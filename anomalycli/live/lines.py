"""Events as lines of JSON."""

import base64
from collections.abc import Callable

from .messages import message, to_json, utc_time
from .tracking import News
from .watcher import Listener, WatchedStream
from .window import Scores


class Lines(Listener):
    """Writes each piece of news as a line. thumbnails: with the newest picture; scores: each clip's scores too."""

    def __init__(self, write: Callable[[str], None], thumbnails: bool = False, scores: bool = False):
        self.write, self.thumbnails, self.scores = write, thumbnails, scores

    def on_scores(self, stream: WatchedStream, scores: Scores) -> None:
        if self.scores:
            final = [round(float(score), 5) for score in scores.scores[: scores.n_final]]
            at = utc_time(scores.times[-1]) if len(scores.times) else None
            newest = None if scores.n_final == len(scores.scores) else round(scores.newest, 5)
            fields = {"kind": "scores", "stream": stream.name, "at": at, "provisional": newest}
            still = {"still": stream.still} if stream.still else {}
            self.write(to_json(fields | {"first_frame": scores.start, "final": final} | still))

    def on_news(self, stream: WatchedStream, news: News) -> None:
        more = {}
        if self.thumbnails and news.kind == "start" and (picture := stream.jpeg()):
            more["thumbnail"] = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
        self.write(to_json(message(news, stream.recording, **more)))
