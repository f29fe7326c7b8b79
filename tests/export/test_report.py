"""The report page, in a real browser."""

import csv
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import result_of, write_index, write_video

from anomalycli.errors import VideoError
from anomalycli.events import EventRule, find_events
from anomalycli.export.base import EMBED_LIMIT, Context
from anomalycli.export.report import page_of, write_report
from anomalycli.media.timecode import clock
from anomalycli.result import Result

EVIL = "<img src=x onerror=alert(1)>.mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A film of 20 s with three events, under a hostile name, and its page."""
    folder = tmp_path_factory.mktemp("pages")
    film = write_video(folder / EVIL, list(range(0, 20_000, 40)), size=64)
    write_report(film_result(film), folder / "film.html", film, truth=[(100, 140)])
    return folder


def film_result(path: Path) -> Result:
    scores = np.full(500, 0.05, np.float32)
    scores[100:150], scores[250:300], scores[400:420] = 0.9, 0.6, 0.75
    return Result(path, scores, 25.0, find_events(scores, 25.0), "video", EventRule())


@pytest.fixture
def page(browser, folder):
    browser.get("about:blank")  # an address that differs only behind its # would not load anew
    opened(browser, folder / "film.html")
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    until(lambda: browser.execute_script("return video.readyState >= 2"))
    yield browser
    assert complaints(browser) == []


def opened(browser, path: Path) -> None:
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(path.as_uri())


def complaints(browser) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


def until(condition, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def rows(browser) -> list[str]:
    return [row.text for row in browser.find_elements("css selector", "tbody tr")]


def video_time(browser) -> float:
    until(lambda: browser.execute_script("return !video.seeking"))
    return browser.execute_script("return video.currentTime")


def press(browser, key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(key).perform()


def drag(browser, start: float, end: float | None = None) -> None:
    """Click on the curve at a share of its width, or drag from there to another."""
    from selenium.webdriver.common.action_chains import ActionChains

    curve = browser.find_element("id", "curve")
    x = [round((share - 0.5) * curve.size["width"]) for share in (start, end) if share is not None]
    actions = ActionChains(browser, duration=50).move_to_element_with_offset(curve, x[0], 0).click_and_hold()
    if end is not None:
        actions.move_to_element_with_offset(curve, x[1], 0)
    actions.release().perform()


def test_events_of_the_page_are_those_of_the_result(page):
    assert page.find_element("id", "events-title").text == "3 events"
    assert rows(page)[0].split("\n") == ["0:04 \u2013 0:06", "Not seen yet", "2.0 s 0.90"]
    images = page.find_elements("css selector", "tbody img")
    assert len(images) == 3
    assert all(page.execute_script("return arguments[0].naturalWidth", image) > 0 for image in images)


def test_click_and_drag_on_the_curve_seek(page):
    drag(page, 0.5)
    assert video_time(page) == pytest.approx(10, abs=0.1)
    drag(page, 0.2, 0.8)
    assert video_time(page) == pytest.approx(16, abs=0.1)
    assert page.find_element("id", "curve").get_attribute("aria-valuetext").startswith("0:1")


def chosen(browser) -> list[str]:
    return [row.text[:4] for row in browser.find_elements("css selector", "tr[aria-current]")]


def test_keys_go_from_event_to_event(page):
    for key, begin in (("j", "0:04"), ("j", "0:10"), ("j", "0:16"), ("k", "0:10"), ("k", "0:04")):
        press(page, key)
        assert chosen(page) == [begin], key
    assert page.find_element("id", "announce").get_attribute("textContent").startswith("Event 1 of 3")
    press(page, "k")
    assert page.find_element("id", "announce").get_attribute("textContent") == "No earlier event"


def test_a_chosen_event_plays_from_three_seconds_before_to_its_end(page):
    press(page, "j")
    assert 1 <= video_time(page) < 4  # it plays on; the event begins at 4
    until(lambda: not page.execute_script("return video.paused"))
    page.execute_script("video.currentTime = 5.8")
    until(lambda: page.execute_script("return video.paused"))
    assert video_time(page) == pytest.approx(6, abs=0.2)
    assert chosen(page) == ["0:04"]
    press(page, " ")
    until(lambda: video_time(page) > 6.3)  # played again at its end, it goes on


def test_an_event_repeats_on_request_at_any_speed(page):
    from selenium.webdriver.support.select import Select

    page.find_element("id", "loop").click()
    Select(page.find_element("id", "speed")).select_by_visible_text("4\u00d7")
    press(page, "j")
    assert page.execute_script("return video.playbackRate") == 4
    page.execute_script("video.currentTime = 5.8")
    until(lambda: 1 <= video_time(page) < 4)
    assert not page.execute_script("return video.paused")


def test_arrows_move_five_seconds_and_space_plays(page):
    from selenium.webdriver.common.keys import Keys

    press(page, Keys.ARROW_RIGHT)
    assert video_time(page) == pytest.approx(5, abs=0.05)
    press(page, Keys.ARROW_LEFT)
    assert video_time(page) == 0
    press(page, " ")
    until(lambda: not page.execute_script("return video.paused"))
    page.find_element("id", "in").click()  # a button keeps the space bar for itself
    page.execute_script("video.pause()")
    press(page, " ")
    assert page.execute_script("return video.paused")
    assert page.execute_script("return view.to - view.from") == pytest.approx(5)


def test_the_curve_is_a_slider(page):
    from selenium.webdriver.common.keys import Keys

    curve = page.find_element("id", "curve")
    for key, expected in ((Keys.END, 20), (Keys.ARROW_DOWN, 15), (Keys.PAGE_DOWN, 10), (Keys.ARROW_UP, 15)):
        curve.send_keys(key)
        assert video_time(page) == pytest.approx(expected, abs=0.05), key
        assert float(curve.get_attribute("aria-valuenow")) == pytest.approx(expected, abs=0.05)
    curve.send_keys(Keys.HOME)
    assert video_time(page) == pytest.approx(0.02)
    press(page, ".")
    assert "frame 1 " in page.find_element("id", "readout").text


def test_the_clock_keeps_its_carry(page):
    shown = "return [59.97, 59.94, 3599.99, 0.04, 61.2].map(seconds => clock(seconds, 1))"
    assert page.execute_script(shown) == ["1:00.0", "0:59.9", "1:00:00.0", "0:00.0", "1:01.2"]
    seconds = [0.4, 0.5, 59.4, 59.97, 60, 3599.5, 3600]
    assert page.execute_script("return arguments[0].map(s => clock(s))", seconds) == list(map(clock, seconds))


def test_a_moment_can_be_sent_and_a_reload_keeps_what_is_shown(page, folder):
    page.get("about:blank")
    page.get((folder / "film.html").as_uri() + "#t=12.5&threshold=0.61")
    until(lambda: video_time(page) == pytest.approx(12.5, abs=0.05))
    assert len(rows(page)) == 2
    drag(page, 0.25)
    press(page, "+")
    until(lambda: "from=" in page.current_url and ("t=5." in page.current_url or "t=4.9" in page.current_url))
    page.refresh()
    until(lambda: video_time(page) == pytest.approx(5, abs=0.1))
    assert page.execute_script("return view.to - view.from") == pytest.approx(10, abs=0.1)
    assert len(rows(page)) == 2


def test_the_mouse_shows_time_score_and_picture_without_moving_the_video(page):
    from selenium.webdriver.common.action_chains import ActionChains

    curve = page.find_element("id", "curve")
    x = round((5 / 20 - 0.5) * curve.size["width"])
    ActionChains(page, duration=10).move_to_element_with_offset(curve, x, 0).perform()
    assert page.find_element("id", "hover-text").text.endswith("score 0.90")
    until(lambda: page.execute_script("return peek.readyState >= 2 && Math.abs(peek.currentTime - 5) < 0.2"))
    assert page.find_element("id", "peek").is_displayed()
    assert video_time(page) == 0


def test_the_wheel_zooms_a_focused_curve_and_two_fingers_pinch(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    curve = page.find_element("id", "curve")
    page.execute_script("box.focus()")
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(curve), 0, -150).perform()
    span = "return view.to - view.from"
    until(lambda: page.execute_script(span) < 12)
    press(page, "0")
    assert page.execute_script(span) == 20
    box = page.execute_script("const r = box.getBoundingClientRect(); return [r.left, r.top + 50, r.width]")

    def touch(kind: str, *shares: float) -> None:
        points = [{"x": box[0] + share * box[2], "y": box[1], "id": i} for i, share in enumerate(shares)]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.4, 0.6)
    touch("touchMove", 0.2, 0.8)
    touch("touchEnd")
    assert page.execute_script(span) == pytest.approx(20 / 3, abs=0.2)
    assert page.execute_script("return (view.to + view.from) / 2") == pytest.approx(10, abs=0.2)


def test_a_lower_threshold_shows_pictures_too(browser, folder, tmp_path):
    film = folder / EVIL
    scores = film_result(film).scores
    scores[300:350] = 0.35  # below the threshold of .5
    result = Result(film, scores, 25.0, find_events(scores, 25.0), "video", EventRule())
    write_report(result, tmp_path / "page.html", film)
    opened(browser, tmp_path / "page.html")
    browser.execute_script("applyRule(0.33)")
    assert len(rows(browser)) == 3 and "0:10 \u2013 0:14" in rows(browser)[1]
    browser.execute_script("applyRule(0.7)")
    assert len(rows(browser)) == 2
    assert browser.find_elements("css selector", "tbody .blank") == []


def phone(browser, width: int = 390, height: int = 844):
    """Within this, the browser is a telephone."""
    import contextlib

    @contextlib.contextmanager
    def emulated():
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        try:
            yield
        finally:
            browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
            browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    return emulated()


def test_on_a_phone_a_chosen_event_plays_in_sight_and_no_keys_are_explained(page):
    with phone(page):
        page.refresh()
        until(lambda: page.execute_script("return video.readyState >= 2"))
        button = page.find_elements("css selector", "tbody button")[2]
        page.execute_script("arguments[0].scrollIntoView({block: 'end'}); arguments[0].click()", button)
        until(lambda: not page.execute_script("return video.paused"))
        time.sleep(0.5)  # what scrolls has come to rest
        place = page.execute_script("const r = video.getBoundingClientRect(); return [r.top, r.bottom, innerHeight]")
        assert 0 <= place[0] < place[1] <= place[2]
        assert page.execute_script("const r = arguments[0].getBoundingClientRect(); return r.top", button) > place[1]
        assert not page.find_element("class name", "keyboard").is_displayed()


def test_verdicts_are_kept_and_saved_as_labels(page):
    press(page, "j")
    press(page, "y")
    press(page, "j")
    press(page, "n")
    page.find_element("id", "note").send_keys("the cleaner, no alarm")
    page.find_element("css selector", "[data-label='1']").click()
    assert page.find_element("id", "progress").text == "2 judged, 1 not seen yet"
    page.refresh()
    assert [row.split("\n")[1] for row in rows(page)][:2] == ["Real", "False alarm \u00b7 the cleaner, no alarm"]
    page.find_element("id", "save").click()
    until(lambda: any(path.stat().st_size for path in page.downloads.glob("labels*.csv")))
    (path,) = page.downloads.glob("labels*.csv")
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    path.unlink()
    name = EVIL.removesuffix(".mp4")
    assert [(line["video"], line["label"], line["start"], line["end"]) for line in lines] == [
        (name, "1", "", ""),
        (name, "1", "4.000", "6.000"),
        (name, "0", "10.000", "12.000"),
    ]
    assert lines[2]["note"] == "the cleaner, no alarm"
    page.find_elements("css selector", "tbody button")[0].click()
    page.find_element("css selector", "#judge [data-verdict=real]").click()  # once more takes it back
    assert page.find_element("id", "progress").text == "1 judged, 1 not seen yet"


def test_a_verdict_stays_with_its_event_at_another_threshold(page):
    press(page, "j")
    press(page, "n")
    page.execute_script("applyRule(0.04)")  # all of the film
    assert len(rows(page)) == 1 and "False alarm" not in rows(page)[0].split("\n")
    page.execute_script("applyRule(0.8)")
    assert len(rows(page)) == 1 and "False alarm" in rows(page)[0]


def test_the_playhead_moves_with_the_video(page):
    page.execute_script("video.play()")
    until(lambda: video_time(page) > 0.3)
    page.execute_script("video.pause()")
    where = "return new DOMMatrix(getComputedStyle(head).transform).m41 / box.clientWidth"
    until(lambda: page.execute_script(where) == pytest.approx(video_time(page) / 20, abs=0.01))


def test_the_slider_finds_events_anew(page, folder):
    result = film_result(folder / EVIL)
    slider = page.find_element("id", "threshold")
    for threshold in (0.02, 0.2, 0.61, 0.76, 0.95):
        page.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", slider, threshold
        )
        rule = EventRule(threshold, min(0.3, threshold))
        expected = [(e.start, e.end, e.peak) for e in find_events(result.scores, 25.0, rule)]
        assert page.execute_script("return events.map(e => [e.start, e.end, e.peak])") == [list(e) for e in expected]
        assert len(rows(page)) == len(expected)
    assert page.find_element("id", "events-title").text == "No events"
    page.find_element("id", "reset").click()
    assert len(rows(page)) == 3


def test_arrow_keys_stay_with_the_slider_while_it_has_the_focus(page):
    from selenium.webdriver.common.keys import Keys

    page.find_element("id", "threshold").send_keys(Keys.ARROW_RIGHT)
    assert page.find_element("id", "value").text == "0.51"
    assert video_time(page) == 0


def test_a_button_of_the_table_goes_there(page):
    page.find_elements("css selector", "tbody button")[1].click()
    assert 7 <= video_time(page) < 10  # it plays on; the event begins at 10


def test_events_download_as_csv(page):
    page.find_element("id", "download").click()
    until(lambda: any(path.stat().st_size for path in page.downloads.glob("*.csv")))
    (path,) = page.downloads.glob("*.csv")
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["start"], line["end"]) for line in lines] == [("100", "150"), ("250", "300"), ("400", "420")]
    assert lines[0]["start_time"] == "4.000"


def test_a_hostile_name_is_text(page):
    assert page.find_element("tag name", "h1").text == EVIL
    assert page.execute_script("return document.querySelectorAll('img[src=x]').length") == 0


def test_the_page_asks_nobody_for_anything(browser, folder):
    opened(browser, folder / "film.html")
    time.sleep(0.5)
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    urls = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert any(url.endswith("film.html") for url in urls)
    assert all(url.startswith(("data:", folder.as_uri())) for url in urls), urls


def test_an_embedded_video_plays_without_its_file(browser, folder, tmp_path):
    film = tmp_path / "gone.mp4"
    film.write_bytes((folder / EVIL).read_bytes())
    write_report(film_result(film), tmp_path / "page.html", film, embed=True)
    film.unlink()
    opened(browser, tmp_path / "page.html")
    until(lambda: browser.execute_script("return video.readyState >= 2"))
    press(browser, "j")
    assert 1 <= video_time(browser) < 4
    assert complaints(browser) == []


def test_a_missing_video_leaves_a_page_that_works_and_says_so(browser, folder, tmp_path):
    film = tmp_path / "lost.mp4"
    film.write_bytes((folder / EVIL).read_bytes())
    write_report(film_result(film), tmp_path / "page.html", film)
    film.unlink()
    opened(browser, tmp_path / "page.html")
    until(lambda: browser.find_element("id", "unplayable").is_displayed())
    assert not browser.find_element("id", "video").is_displayed()
    press(browser, "j")
    assert "frame 100" in browser.find_element("id", "readout").text
    assert browser.execute_script("return $('still').naturalWidth") > 0
    assert browser.find_element("id", "still").is_displayed()
    assert len(browser.find_elements("css selector", "#film img")) == 5
    browser.find_elements("css selector", "#film button")[3].click()
    assert "frame 131 " in browser.find_element("id", "readout").text


def test_variable_rate_seeks_to_true_times(browser, tmp_path):
    stamps = [*range(0, 2000, 40), *range(2000, 12_000, 200)]
    film = write_video(tmp_path / "vfr.mp4", stamps)
    times = np.array(stamps) / 1000
    result = result_of([(60, 70)], 100, 100 / 12, str(film), times)
    write_report(result, tmp_path / "page.html", film)
    opened(browser, tmp_path / "page.html")
    until(lambda: browser.execute_script("return video.readyState >= 2"))
    browser.execute_script("goTo(60)")
    assert 4.0 <= video_time(browser) < 4.2
    assert "frame 60" in browser.find_element("id", "readout").text
    assert complaints(browser) == []


def test_times_after_a_jump_of_years_are_right(browser, tmp_path):
    """As where a camera begins in 1970 and then learns what time it is."""
    times = np.concatenate((np.arange(50) / 25, 1.6e9 + np.arange(50) / 25))
    write_report(result_of([(60, 70)], 100, 25, "camera.ts", times), tmp_path / "page.html")
    opened(browser, tmp_path / "page.html")
    assert browser.execute_script("return [edge(49), edge(60), frameAt(1.6e9 + .4)]") == [1.96, 1.6e9 + 0.4, 60]
    assert complaints(browser) == []


def test_two_hours_stay_light_and_keep_their_peak(browser, tmp_path):
    n = 180_000
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 0.25, n).astype(np.float32)
    for start in rng.integers(0, n - 500, 200):
        scores[start : start + 400] = 0.8
    peak = 123_457
    scores[peak] = 1.0
    times = np.cumsum(rng.uniform(0.03, 0.05, n))
    result = Result(Path("long.mp4"), scores, 25.0, find_events(scores, 25.0), "window", EventRule(), times=times)
    path = tmp_path / "long.html"
    write_report(result, path)
    assert path.stat().st_size < 3e6
    opened(browser, path)
    column = browser.execute_script("return Math.floor(toX(edge(arguments[0])))", peak)
    assert browser.execute_script(
        "const from = frameAt(toSeconds(arguments[0])); return extremes(from, frameAt(toSeconds(arguments[0] + 1)))[1]",
        column,
    ) == pytest.approx(1.0)
    assert complaints(browser) == []


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1200, 900)])
def test_nothing_is_cut_off_at_any_width(browser, folder, width, height):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    try:
        opened(browser, folder / "film.html")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        browser.execute_script("video.dispatchEvent(new Event('error')); goToEvent(0)")
        assert browser.execute_script(
            "return $('player').scrollWidth <= $('player').parentElement.parentElement.clientWidth"
        )
        assert browser.execute_script("return $('stills').getBoundingClientRect().right") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_every_control_has_a_name_and_every_text_contrast(page):
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('button, input, video, [role=slider]')].filter(e =>"
        " !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map(e => e.outerHTML)"
    )
    assert unnamed == []
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        colours = page.execute_script(
            "const s = getComputedStyle(document.documentElement);"
            "return Object.fromEntries(['paper', 'card', 'ink', 'soft', 'curve', 'event', 'truth', 'focus']"
            ".map(n => [n, s.getPropertyValue('--' + n).trim()]))"
        )
        for name, least in (("ink", 7), ("soft", 4.5), ("curve", 3), ("event", 3), ("truth", 3), ("focus", 3)):
            for ground in ("paper", "card"):
                assert contrast(colours[name], colours[ground]) >= least, (scheme, name, ground)


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colours, WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_index_sorts_by_peak_and_leads_to_the_pages(browser, folder, tmp_path):
    film = folder / EVIL
    quiet = Result(tmp_path / "quiet.mp4", np.full(100, 0.1, np.float32), 25.0, [], "video", EventRule())
    pages = [
        write_report(quiet, tmp_path / "sub" / "quiet.html"),
        write_report(film_result(film), tmp_path / "sub" / "a?b#c%.html", film),
    ]
    write_index(pages, tmp_path / "index.html", ["<b>bad</b>.mp4: the file is empty."])
    opened(browser, tmp_path / "index.html")
    names = [element.text for element in browser.find_elements("css selector", ".name")]
    assert names == [EVIL, "quiet.mp4"]
    assert "<b>bad</b>.mp4" in browser.find_element("tag name", "details").text
    assert len(browser.find_elements("css selector", "svg rect")) == 3
    browser.find_element("css selector", ".list .name").click()
    until(lambda: browser.find_elements("id", "readout"))
    assert browser.find_element("tag name", "h1").text == EVIL
    assert complaints(browser) == []


@pytest.fixture(scope="module")
def camera(folder, tmp_path_factory) -> Path:
    """Pages of three videos, and their index."""
    root = tmp_path_factory.mktemp("camera")
    film = folder / EVIL
    calm = Result(root / "hall 10.mp4", np.full(100, 0.1, np.float32), 25.0, [], "video", EventRule())
    short = Result(root / "hall 2.mp4", np.full(50, 0.45, np.float32), 25.0, [], "video", EventRule())
    index = root / "index.html"
    results = [(film_result(film), film), (calm, None), (short, None)]
    pages = [
        write_report(result, root / "pages" / f"{number}.html", video, index=index)
        for number, (result, video) in enumerate(results)
    ]
    write_index(pages, index, ["broken.mp4: the file is empty."])
    return index


@pytest.fixture
def index(browser, camera):
    browser.get(camera.as_uri())
    browser.execute_script("localStorage.clear()")
    browser.get("about:blank")
    opened(browser, camera)
    yield browser
    assert complaints(browser) == []


def names(browser) -> list[str]:
    return [element.text for element in browser.find_elements("css selector", ".name")]


def select(browser, name: str, words: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(browser.find_element("id", name)).select_by_visible_text(words)


def test_the_index_filters_and_sorts_and_keeps_it_over_a_reload(index):
    assert names(index) == [EVIL, "hall 2.mp4", "hall 10.mp4"]
    assert index.find_element("id", "totals").text == "0:26 of video. 3 events in 1 video; 0 judged, 3 not seen yet."
    index.find_element("id", "find").send_keys("HALL")
    select(index, "sort", "length")
    assert names(index) == ["hall 10.mp4", "hall 2.mp4"]
    index.refresh()
    assert names(index) == ["hall 10.mp4", "hall 2.mp4"]
    index.find_element("id", "find").send_keys("\ue003" * 4)  # backspace
    select(index, "show", "videos with events")
    assert names(index) == [EVIL]
    index.find_element("id", "find").send_keys("nothing like it")
    assert index.find_element("id", "empty").is_displayed()


def test_one_threshold_for_all_videos(index):
    index.execute_script("change({threshold: '0.4'})")
    assert index.find_element("id", "totals").text.startswith("0:26 of video. 4 events in 2 videos")
    (chip,) = index.find_elements("css selector", "[data-key] .chips li a[title*='2.0 s, score 0.45']")
    chip.click()
    until(lambda: index.find_elements("id", "readout"))
    assert index.find_element("id", "value").text == "0.40"  # the page has the threshold of the index
    assert index.find_element("id", "events-title").text == "1 event"
    index.find_element("id", "to-index").click()
    until(lambda: index.find_elements("id", "totals"))
    assert index.find_element("id", "value").text == "0.40"
    index.find_element("id", "reset").click()
    assert index.find_element("id", "totals").text.startswith("0:26 of video. 3 events in 1 video;")
    index.execute_script("change({threshold: '1'})")
    assert index.find_elements("css selector", "#cameras .mark") == []
    assert index.find_element("id", "timeline-note").text == "No events."


def test_from_the_index_to_an_event_and_on_to_the_next_video_and_back(index):
    index.find_elements("css selector", ".chips a")[1].click()
    until(lambda: index.find_elements("id", "readout") and video_time(index) == pytest.approx(10, abs=0.05))
    assert chosen(index) == ["0:10"]
    assert not index.find_element("id", "previous-video").is_displayed()
    press(index, "n")
    index.find_element("id", "next-video").click()
    until(lambda: index.find_element("tag name", "h1").text == "hall 2.mp4")
    assert index.find_element("id", "previous-video").text == f"Previous: {EVIL}"
    assert index.find_element("id", "next-video").text == "Next: hall 10.mp4"
    index.find_element("css selector", "[data-label='0']").click()
    index.find_element("id", "to-index").click()
    until(lambda: index.find_elements("id", "totals"))
    assert [element.text for element in index.find_elements("css selector", ".list .state")] == [
        "1 of 3 judged, 2 unseen",
        "normal",
        "",
    ]
    select(index, "show", "judged videos")
    assert names(index) == ["hall 2.mp4"]
    index.find_element("id", "save").click()
    until(lambda: any(path.stat().st_size for path in index.downloads.glob("labels*.csv")))
    (path,) = index.downloads.glob("labels*.csv")
    assert path.read_text().splitlines() == [
        "video,label,start,end,note",
        f"{EVIL.removesuffix('.mp4')},0,10.000,12.000,",
        "hall 2,0,,,",
    ]
    path.unlink()


def test_an_index_of_sixty_hours_is_light(browser, tmp_path):
    scores = np.random.default_rng(0).uniform(0, 1, 90_000).astype(np.float32)
    pages = []
    for number in range(60):
        result = Result(tmp_path / f"{number}.mp4", scores, 25.0, find_events(scores, 25.0), "window", EventRule())
        pages.append(page_of(result, Context(tmp_path / f"{number}.html", f"{number}.mp4")))
    write_index(pages, tmp_path / "index.html")
    assert (tmp_path / "index.html").stat().st_size < 6e6
    opened(browser, tmp_path / "index.html")
    assert len(names(browser)) == 60
    assert complaints(browser) == []


def test_a_name_cannot_end_the_script(tmp_path):
    path = tmp_path / "x.html"
    write_report(result_of([], 10, 25, "</script><script>alert(1)</script>\udcff.mp4"), path)
    assert "</script><script>alert" not in path.read_text()


def test_a_video_too_large_to_embed_is_refused(tmp_path, monkeypatch):
    film = write_video(tmp_path / "film.mp4", list(range(0, 1000, 40)))
    monkeypatch.setattr("anomalycli.export.base.EMBED_LIMIT", 10)
    with pytest.raises(VideoError, match=r"film\.mp4.*too large to embed"):
        write_report(result_of([], 25, 25, str(film)), tmp_path / "x.html", film, embed=True)
    assert EMBED_LIMIT > 100 << 20 and not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["film", "judged", "unplayable", "index"])
def test_axe_finds_nothing_serious(browser, folder, camera, scheme, state):
    if not (axe := os.environ.get("ANOMALYCLI_AXE")):
        pytest.skip("ANOMALYCLI_AXE does not name axe.min.js (npm pack axe-core)")
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get("about:blank")
    browser.get((camera if state == "index" else folder / "film.html").as_uri())
    if state == "judged":
        press(browser, "j")
        press(browser, "n")
    if state == "unplayable":
        browser.execute_script("video.dispatchEvent(new Event('error')); goToEvent(1)")
    browser.execute_script(Path(axe).read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(found => arguments[0](found.violations))")
    serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []
