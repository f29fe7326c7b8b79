"""The database of events, and the messages that wait in it."""

import contextlib
import hashlib
import hmac
import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from live_fakes import FakeSource, clip

from anomalycli.errors import UsageError
from anomalycli.live import webhooks
from anomalycli.live.database import EventDatabase, Retention
from anomalycli.live.event_store import EventStore
from anomalycli.live.messages import utc_time
from anomalycli.live.tracking import LiveEvent, News
from anomalycli.live.watcher import Watcher
from anomalycli.live.webhooks import Webhooks, checked, target_of

NOW = 1_000_000.0


def event(number="a", start=NOW, seconds=5.0, **changes) -> LiveEvent:
    return LiveEvent(
        **{"id": number, "stream": "gate", "start": start, "end": start + seconds, "peak": start + 1}
        | {"score": 0.8}
        | changes
    )


def test_an_event_is_stored_once_and_changes(tmp_path):
    with contextlib.closing(EventDatabase(tmp_path / "events.db", now=lambda: NOW)) as database:
        database.put(event(), picture=b"jpeg")
        database.put(event(seconds=9, score=0.9, is_open=False, is_final=True))
        (stored,) = database.events()
        assert (stored["end"], stored["score"], stored["open"], stored["final"]) == (
            utc_time(NOW + 9),
            0.9,
            False,
            True,
        )
        assert database.picture("a") == b"jpeg" and database.picture("b") is None
        assert database.judge("a", "real", "a dog") and not database.judge("b", "real", "")
        assert database.events()[0]["verdict"] == "real" and database.events()[0]["note"] == "a dog"
        with pytest.raises(ValueError, match="a verdict is one of"):
            database.judge("a", "maybe", "")


KILLED = """
import os, signal, sys
from pathlib import Path
from anomalycli.live.database import EventDatabase
from anomalycli.live.tracking import LiveEvent
database = EventDatabase(Path(sys.argv[1]))
for number in range(200):
    database.put(LiveEvent(f"e{number}", "gate", number, number + 1.0, number, 0.5, is_open=False, is_final=True))
    database.push("target", str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_stored_survives_a_kill(tmp_path):
    path = tmp_path / "events.db"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with contextlib.closing(EventDatabase(path)) as database:
        assert len(database.events(1000)) == database.n_waiting() == 200
        assert database.first("target")[1] == "0"


def test_an_event_that_a_kill_interrupted_goes_on_under_its_id_or_is_ended(tmp_path, scorer):
    path, begin = tmp_path / "events.db", NOW + 20
    with contextlib.closing(EventDatabase(path, now=lambda: NOW)) as database:
        database.put(event("before", NOW - 4000))
        database.put(event("now", NOW))
        database.put(event("yard", NOW, stream="yard"))
        database.put(event("shed", NOW, stream="shed"))
    with contextlib.closing(EventDatabase(path, now=lambda: begin)) as database:
        unfinished = database.unfinished()
        assert {stream: one.id for stream, one in unfinished.items()} == {"gate": "now", "yard": "yard", "shed": "shed"}
        watcher = Watcher(scorer, [EventStore(database, print)], clock=lambda: begin)
        levels = {
            "gate": [0.9] * 3 + [0.2] * 20,
            "yard": [0.2] * 30,
            "shed": [0.2] * 4 + [0.9] * 3 + [0.2] * 20,  # another event, soon
        }
        for name, some in levels.items():
            clips = [clip(level, begin + 0.64 * number) for number, level in enumerate(some)]
            watcher.add(FakeSource(name, *clips), before=unfinished[name])
        watcher.run()
        stored = {one["id"]: one for one in database.events() if one["confirmed"]}
    assert {stored[name]["reason"] for name in ("before", "yard", "shed")} == {"interrupted"}
    assert stored["now"]["start"] == utc_time(NOW) and stored["now"]["end"] > utc_time(begin + 0.64)
    assert stored["shed"]["end"] == utc_time(NOW + 5)
    (another,) = set(stored) - {"before", "now", "yard", "shed"}
    assert stored[another]["stream"] == "shed" and stored[another]["start"] > utc_time(begin + 1.28)
    assert all(one["final"] and not one["open"] for one in stored.values())


def test_old_events_and_too_many_are_deleted(tmp_path):
    done = {"is_open": False, "is_final": True}
    with contextlib.closing(EventDatabase(tmp_path / "a.db", Retention(days=1), now=lambda: NOW)) as database:
        database.put(event("old", NOW - 90_000, **done))
        database.put(event("new", NOW - 80_000, **done))
        database.clean()
        assert [one["id"] for one in database.events()] == ["new"]
    with contextlib.closing(EventDatabase(tmp_path / "b.db", Retention(megabytes=1), now=lambda: NOW)) as database:
        for number in range(100):
            database.put(event(f"{number:02}", NOW + number, **done), picture=os.urandom(20_000))
        database.clean()
        kept = [one["id"] for one in database.events()]
        assert kept == [f"{number:02}" for number in range(99, 99 - len(kept), -1)] and 20 < len(kept) < 60
    assert (tmp_path / "b.db").stat().st_size < 1.3 * 2**20


def test_files_that_are_no_database_of_ours_are_refused(tmp_path):
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at" * 100)
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE recipes (name TEXT)")
    with contextlib.closing(sqlite3.connect(tmp_path / "newer.db")) as newer:
        newer.execute("PRAGMA user_version = 99")
    for name, words in (("text", "not a database"), ("other", "something else"), ("newer", "newer version")):
        with pytest.raises(UsageError, match=words):
            EventDatabase(tmp_path / f"{name}.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["newer.db", "other.db", "text.db"]
    with contextlib.closing(EventDatabase(tmp_path / "events.db")), pytest.raises(UsageError, match="another process"):
        EventDatabase(tmp_path / "events.db")


def test_a_database_that_cannot_be_written_is_said_once(tmp_path, scorer):
    said = []
    database = EventDatabase(tmp_path / "events.db")
    store = EventStore(database, said.append)
    database._connection.execute("PRAGMA query_only = 1")  # as a disk that is full or read-only
    for number in range(3):
        store.on_news(Watcher(scorer, []).add(FakeSource("gate")), News("start", event(str(number))))
    assert len(said) == 1 and "events cannot be stored" in said[0]
    database.close()


@pytest.fixture
def receiver():
    """A web server that answers with the statuses in its list, then with 200; keeps what it got."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = server.statuses.pop(0) if server.statuses else 200
            if status == 200:
                server.got.append((body, dict(self.headers)))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.statuses, server.got = [], []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "url", ["me:secret@host/x", "file:///secret", "http://", "http://host:port/secret?x", "http://["]
)
def test_what_is_no_web_address_is_refused_before_messages_wait_for_it(url):
    with pytest.raises(UsageError, match="not a web address") as caught:
        checked(url)
    assert caught.value.settings == ("webhooks",) and "me:" not in str(caught.value)
    assert checked("https://me:secret@[::1]:8443/x?key=1")


def test_a_webhook_gets_all_messages_in_order_once_it_is_back(tmp_path, receiver, monkeypatch):
    monkeypatch.setattr(webhooks, "PATIENCE", 100.0)
    url, now, said = f"http://user:secret@127.0.0.1:{receiver.server_port}/hook?token=hidden", [0.0], []
    receiver.statuses = [500, 302, 500]
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        for number in range(3):
            database.push(target_of(url), json.dumps({"number": number}))
        hooks = Webhooks(database, (url,), said.append, "key", clock=lambda: now[0])
        waits = []
        for _ in range(20):
            if not hooks.send_due():
                waits += [hooks._states[url].due - now[0]] * (database.n_waiting() > 0)
                now[0] = hooks._states[url].due
        assert waits == [1, 2, 4]
    assert receiver.got[0][1]["Authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert [json.loads(body)["number"] for body, _ in receiver.got] == [0, 1, 2]
    for body, headers in receiver.got:
        stamp = headers["X-Anomalycli-Timestamp"].encode()
        expected = hmac.new(b"key", stamp + b"." + body, hashlib.sha256).hexdigest()
        assert headers["X-Anomalycli-Signature"] == f"sha256={expected}"
    assert not [sentence for sentence in said if "secret" in sentence or "hidden" in sentence]
    assert said[0].endswith("(status 500). It waits, and is sent again.") and "delivered again" in said[-1]
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"secret" not in content and b"hidden" not in content


def test_a_receiver_that_is_away_leaves_messages_in_the_database(tmp_path):
    said = []
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        url = "http://127.0.0.1:1/hook"
        database.push(target_of(url), "{}")
        assert not Webhooks(database, (url,), said.append).send_due()
        assert database.n_waiting() == 1 and "connection refused" in said[0]
