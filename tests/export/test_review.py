"""The review server: what it serves, to whom, and what it writes."""

import http.client
import json
import threading
import time
from urllib.parse import urlsplit

import pytest
from helpers import result_of, write_index, write_video

from anomalycli.errors import UsageError
from anomalycli.export.report import write_report
from anomalycli.export.review import ReviewServer

KEY = "0123456789abcdef"
RECORD = {
    "video": "gate, 7",
    "label": 1,
    "note": "",
    "events": [
        {"start": 2, "end": 3.5, "verdict": "false", "note": "=cleaner"},
        {"start": 5, "end": 6, "verdict": "real", "note": ""},
        {"start": 8, "end": 9, "verdict": "unsure", "note": ""},
    ],
}
LABELS = 'video,label,start,end,note\n"gate, 7",1,,,\n"gate, 7",0,2.000,3.500,\'=cleaner\n"gate, 7",1,5.000,6.000,\n'


@pytest.fixture
def pages(tmp_path):
    """pages/index.html and pages/film.html, of a video beside the folder."""
    film = write_video(tmp_path / "film #1.mp4", list(range(0, 10_000, 40)), size=64)
    folder = tmp_path / "pages"
    page = write_report(
        result_of([(100, 150)], 250, 25, str(film)), folder / "film.html", film, index=folder / "index.html"
    )
    write_index([page], folder / "index.html")
    return folder


@pytest.fixture
def server(pages):
    server = ReviewServer(pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(server, method: str, path: str, body=None, token: str | None = "", **headers):
    """The response and its content; token "": the right one, None: none."""
    token = server.token if token == "" else token
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        headers = {"Cookie": f"anomalycli={token}", "X-Token": token} | headers
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body), headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


def status(*words, **more) -> int:
    return ask(*words, **more)[0].status


def test_only_who_has_the_token_sees_anything(server):
    for path in ("/", "/index.html", "/film.html"):
        assert status(server, "GET", path, token=None) == 403
        assert status(server, "GET", path, token="wrong") == 403
        assert status(server, "GET", path, Host="evil.example") == 403  # a name that was rebound to this machine
    assert status(server, "PUT", f"/verdicts/{KEY}", RECORD, token=None) == 403
    assert status(server, "PUT", f"/verdicts/{KEY}", RECORD, X_Token="wrong") == 403
    address = urlsplit(server.url)
    response, _ = ask(server, "GET", f"{address.path}?{address.query}", token=None)
    assert response.status == 303 and response.headers["Location"] == "/index.html"
    assert "HttpOnly" in response.headers["Set-Cookie"] and "SameSite=Strict" in response.headers["Set-Cookie"]
    assert status(server, "GET", "/film.html") == 200


def test_nothing_but_pages_and_their_videos_is_served(server, tmp_path):
    (tmp_path / "secret.html").write_text("secret")
    (server.folder / "notes.txt").write_text("secret")
    (server.folder / "link.html").symlink_to(tmp_path / "secret.html")
    (server.folder / "evil.html").write_text('<video id="video" src="../secret.html">')
    for path in ("/../secret.html", "/%2e%2e/secret.html", "/notes.txt", "/link.html", "/videos/x.mp4", "/none.html"):
        assert status(server, "GET", path) == 404, path
    assert b"/videos/" not in ask(server, "GET", "/evil.html")[1]


def test_videos_are_sent_in_parts(server, tmp_path):
    content = (tmp_path / "film #1.mp4").read_bytes()
    page = ask(server, "GET", "/film.html")[1].decode()
    path = page.split('<video id="video" src="')[1].split('"')[0]
    assert ask(server, "GET", path)[1] == content
    response, part = ask(server, "GET", path, Range="bytes=100-199")
    assert (response.status, part) == (206, content[100:200])
    assert response.headers["Content-Range"] == f"bytes 100-199/{len(content)}"
    assert ask(server, "GET", path, Range="bytes=-50")[1] == content[-50:]
    assert ask(server, "GET", path, Range=f"bytes={len(content)}-")[0].status == 416
    response, nothing = ask(server, "HEAD", path)
    assert (response.headers["Content-Length"], nothing) == (str(len(content)), b"")


def test_verdicts_become_labels_and_survive_a_restart(server, pages):
    before = {path.name for path in pages.iterdir()}
    assert status(server, "PUT", f"/verdicts/{KEY}", RECORD) == 204
    assert (pages / "labels.csv").read_text() == LABELS
    assert {path.name for path in pages.iterdir()} - before == {"labels.csv", "verdicts.json"}
    again = ReviewServer(pages)
    assert again.verdicts.records == {KEY: RECORD}
    again.server_close()


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        ("../../etc/passwd", RECORD, 404),
        ("0123", RECORD, 404),
        (KEY, b"{", 400),
        (KEY, b"[" * 100_000, 400),
        (KEY, RECORD | {"label": 2}, 400),
        (KEY, RECORD | {"events": [{"start": 3, "end": 2, "verdict": "real", "note": ""}]}, 400),
        (KEY, RECORD | {"events": [{"start": 0, "end": float("nan"), "verdict": "real", "note": ""}]}, 400),
        (KEY, RECORD | {"events": [{"start": 0, "end": 10**400, "verdict": "real", "note": ""}]}, 400),
        (KEY, RECORD | {"video": "x" * 2000}, 400),
        (KEY, b" " * (9 << 20), 413),
    ],
)
def test_what_is_no_verdict_is_refused(server, pages, key, body, expected):
    try:
        assert status(server, "PUT", f"/verdicts/{key}", body) == expected
    except ConnectionError:
        assert expected == 413  # the server may hang up while the body is sent
    assert not (pages / "labels.csv").exists()


def test_labels_of_others_are_not_replaced(server, pages):
    status(server, "PUT", f"/verdicts/{KEY}", RECORD)
    with open(pages / "labels.csv", "a") as file:
        file.write("mine,1,,,\n")
    with pytest.raises(UsageError, match=r"labels\.csv: .*edited"):
        ReviewServer(pages)
    (pages / "labels.csv").unlink()
    (pages / "verdicts.json").write_text("[]")
    with pytest.raises(UsageError, match=r"verdicts\.json"):
        ReviewServer(pages)
    with pytest.raises(UsageError, match="no page"):
        ReviewServer(pages.parent / "nothing here")


def test_a_verdict_in_the_browser_is_in_the_folder(browser, server, pages):
    from selenium.webdriver.common.action_chains import ActionChains

    def until(condition) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.02)

    browser.get_log("browser")
    browser.get(server.url)
    assert server.token not in browser.current_url
    browser.find_element("css selector", ".name").click()
    until(lambda: browser.find_elements("id", "video"))
    until(lambda: browser.execute_script("return video.readyState >= 2"))
    ActionChains(browser).send_keys("j").send_keys("n").perform()
    until(lambda: (pages / "labels.csv").exists())
    until(lambda: (pages / "labels.csv").read_text() == "video,label,start,end,note\nfilm #1,0,4.000,6.000,\n")
    assert not browser.find_element("id", "save").is_displayed()
    browser.find_element("id", "to-index").click()
    until(lambda: browser.find_elements("css selector", ".list .state"))
    assert browser.find_element("css selector", ".list .state").text == "all judged"
    assert browser.execute_script("return Object.keys(localStorage).filter(name => name.includes('verdicts'))") == []
    assert [entry["message"] for entry in browser.get_log("browser")] == []
