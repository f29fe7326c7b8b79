"""The page of all streams, as a browser and others ask for it."""

import contextlib
import http.client
import json
import urllib.error
import urllib.request

import pytest
from live_fakes import FakeSource, clip, still_clip

from anomalycli.errors import UsageError
from anomalycli.live.board import Board
from anomalycli.live.database import EventDatabase
from anomalycli.live.event_store import EventStore
from anomalycli.live.server import LiveServer
from anomalycli.live.sources import Break
from anomalycli.live.watcher import Watcher

pytest.importorskip("uvicorn")

START = 1_000_000.0
LOUD = [0.2] * 5 + [0.9] * 4 + [0.2] * 12


def watched(scorer, *more, sources=()):
    """A board that has followed an event at the gate."""
    board = Board(now=lambda: START + 13.5)
    watcher = Watcher(scorer, [board, *more], clock=lambda: START + 13.5)
    clips = [clip(level, START + 0.64 * number) for number, level in enumerate(LOUD)]
    for source in (FakeSource("gate", *clips), *sources):
        board.watch(watcher.add(source))
    watcher.run()
    return board


@contextlib.contextmanager
def served(board, database=None, address="127.0.0.1:0", token=None):
    server = LiveServer(address, board, database, token)
    server.start()
    try:
        yield server
    finally:
        server.close()


def ask(server, path, data=None, **headers):
    """Status and body."""
    url = f"http://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers)
    try:
        with urllib.request.urlopen(request, timeout=100) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def state(server) -> dict:
    """The first state that the page is sent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=100)
    connection.request("GET", "/state")
    line = connection.getresponse().readline()
    connection.close()
    return json.loads(line.removeprefix(b"data: "))


def test_curves_of_recordings_are_on_their_own_clock(scorer):
    hours = [clip(level, START - 7200 + 0.64 * number) for number, level in enumerate(LOUD)]
    before = [clip(0.2, START - 9000 + 0.64 * number) for number in range(5)]
    folder = FakeSource("yard", Break("a.mp4"), *before, Break("b.mp4"), *hours)
    _, yard = watched(scorer, sources=[folder]).streams()
    assert (yard["lag"], yard["ago"][-1]) == (0, 0) and yard["ago"][0] == pytest.approx(21 * 0.64, abs=1)
    assert yard["ago"] == sorted(yard["ago"], reverse=True) and len(yard["curve"]) == pytest.approx(21, abs=2)


def test_the_page_shows_streams_events_and_pictures(scorer, tmp_path):
    with contextlib.closing(EventDatabase(tmp_path / "events.db")) as database:
        board = watched(scorer, EventStore(database, print))
        with served(board, database) as server:
            told = state(server)
            (stream,) = told["streams"]
            assert (stream["name"], stream["frames"], stream["events"]) == ("gate", 16 * 21, len(told["events"]))
            assert len(stream["curve"]) == len(stream["ago"]) == stream["final"] == pytest.approx(21, abs=2)
            confirmed = [event for event in told["events"] if event["confirmed"]]
            assert len(confirmed) == 1
            for path in ("/streams/gate.jpg", f"/events/{confirmed[0]['id']}.jpg"):
                code, picture = ask(server, path)
                assert code == 200 and picture.startswith(b"\xff\xd8")
            assert ask(server, "/streams/nobody.jpg")[0] == 404
            number = confirmed[0]["id"]
            assert ask(server, f"/events/{number}/verdict", b'{"verdict": "real", "note": "a dog"}')[0] == 200
            assert ask(server, "/events/nothing/verdict", b'{"verdict": "real"}')[0] == 404
            for wrong in (b"{", b"[]", b'{"verdict": "maybe"}', b'{"verdict": "real", "note": 3}'):
                assert ask(server, f"/events/{number}/verdict", wrong)[0] == 400
            judged = {event["id"]: event.get("verdict") for event in json.loads(ask(server, "/events")[1])}
            assert judged[number] == "real"
            assert b"default-src" not in ask(server, "/")[1] and b'id="wall"' in ask(server, "/")[1]


def test_health_and_metrics(scorer):
    now = [START + 13.5]
    idle = FakeSource("shed", clip(0.2, START), still_clip(START + 0.64))
    board = watched(scorer, sources=[idle])
    board.now = lambda: now[0]
    with served(board) as server:
        code, body = ask(server, "/healthz")
        assert (code, json.loads(body)["status"]) == (200, "ok")
        lines = ask(server, "/metrics")[1].decode().splitlines()
        assert 'anomalycli_frames_total{stream="gate"} 336' in lines
        assert 'anomalycli_events_open{stream="gate"} 0' in lines
        assert {'anomalycli_clips_still_total{stream="gate"} 0', 'anomalycli_clips_still_total{stream="shed"} 1'} <= {
            *lines
        }
        now[0] += 61
        assert ask(server, "/healthz")[0] == 503


def test_other_machines_need_a_token_and_other_sites_get_nothing(scorer):
    board = watched(scorer)
    with pytest.raises(UsageError, match="ANOMALYCLI_TOKEN"):
        LiveServer("0.0.0.0:0", board)
    with pytest.raises(UsageError, match="not an address"):
        LiveServer("somewhere", board)
    with served(board) as server:
        assert ask(server, "/", Host="evil.example")[0] == 403
        own = f"http://127.0.0.1:{server.port}"
        assert ask(server, "/events/x/verdict", b'{"verdict": null}', Origin="http://evil.example")[0] == 403
        assert ask(server, "/events/x/verdict", b'{"verdict": null}', Origin=own)[0] == 404
        with pytest.raises(UsageError, match="cannot listen there"):
            LiveServer(f"127.0.0.1:{server.port}", board)
    with served(board, address="0.0.0.0:0", token="good") as server:
        assert ask(server, "/events")[0] == ask(server, "/events?token=bad")[0] == ask(server, "/metrics")[0] == 403
        assert ask(server, "/healthz")[0] == 200
        assert ask(server, "/metrics", Authorization="Bearer good")[0] == 200
        assert ask(server, "/events", Cookie="anomalycli-live=good")[0] == 200


def test_the_page_in_a_browser(scorer, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    board = watched(scorer, sources=[FakeSource("<b>yard</b>")])
    with served(board) as server:
        browser.get(server.url)
        WebDriverWait(browser, 100).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#events tbody tr"))
        titles = [node.text for node in browser.find_elements(By.CSS_SELECTOR, ".lane h2")]
        assert titles == ["gate", "<b>yard</b>"]
        confirmed = next(event for event in board.events() if event["confirmed"])
        button = browser.find_element(By.CSS_SELECTOR, f"[data-id='{confirmed['id']}'] button[data-verdict=real]")
        browser.execute_script("arguments[0].click()", button)
        WebDriverWait(browser, 100).until(lambda page: button.get_attribute("aria-pressed") == "true")
        assert next(event for event in board.events() if event["id"] == confirmed["id"])["verdict"] == "real"
        errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors
