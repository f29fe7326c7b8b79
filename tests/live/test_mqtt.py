"""Events at a real MQTT broker."""

import json
import queue
import shutil
import socket
import subprocess
import time

import pytest
from live_fakes import FakeSource, clip

from anomalycli.errors import UsageError
from anomalycli.live.mqtt import Mqtt
from anomalycli.live.watcher import Watcher

START = 1_000_000.0
LOUD = [0.2] * 5 + [0.9] * 4 + [0.2] * 12
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture
def broker(tmp_path):
    """The port of a mosquitto that knows the user `watch` with the password `se@cret`."""
    if not MOSQUITTO:
        pytest.skip("there is no mosquitto on this machine")
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-c", "-b", users, "watch", "se@cret"], check=True, capture_output=True)
    for _ in range(5):  # another program may take the port before the broker does
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = tmp_path / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {users}\nuser root\n")
        process = subprocess.Popen([MOSQUITTO, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not answers(port):
            time.sleep(0.05)
        if process.poll() is None:
            break
    yield port
    process.kill()
    process.wait()


def answers(port) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def subscriber(port):
    """A queue of (topic, content, retained) of all that the broker gets."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    got, ready = queue.Queue(), queue.Queue()
    client = Client(CallbackAPIVersion.VERSION2)
    client.username_pw_set("watch", "se@cret")
    client.on_message = lambda _client, _data, one: got.put((one.topic, one.payload.decode(), one.retain))
    client.on_subscribe = lambda *_: ready.put(None)
    client.connect("127.0.0.1", port)
    client.loop_start()
    client.subscribe("#", qos=1)
    ready.get(timeout=100)
    return client, got


def test_home_assistant_finds_the_stream_and_sees_the_event(broker, scorer):
    client, got = subscriber(broker)
    mqtt = Mqtt(f"mqtt://watch:se%40cret@127.0.0.1:{broker}", print)
    mqtt.start()
    messages = [got.get(timeout=100)]
    while messages[-1][:2] != ("anomalycli/status", "online"):
        messages.append(got.get(timeout=100))
    watcher = Watcher(scorer, [mqtt], clock=lambda: START + 14)
    clips = [clip(level, START + 0.64 * number) for number, level in enumerate(LOUD)]
    mqtt.watch(watcher.add(FakeSource("front gate", *clips)))
    watcher.run()
    mqtt.close()
    while messages[-1][:2] != ("anomalycli/status", "offline"):
        messages.append(got.get(timeout=100))
    client.disconnect()
    client.loop_stop()
    by_topic = {}
    for topic, content, _ in messages:
        by_topic.setdefault(topic, []).append(content)
    config = json.loads(by_topic["homeassistant/binary_sensor/anomalycli_front_gate/config"][-1])
    assert (
        config["state_topic"] == "anomalycli/front gate/state" and config["availability_topic"] == "anomalycli/status"
    )
    states = by_topic["anomalycli/front gate/state"]
    assert "ON" in states and states[-1] == "OFF"
    kinds = [json.loads(one)["kind"] for one in by_topic["anomalycli/front gate/event"]]
    assert kinds[0] == "start" and kinds[-1] == "final"
    assert by_topic["anomalycli/status"][-2:] == ["online", "offline"]
    assert 0 <= float(by_topic["anomalycli/front gate/score"][-1]) <= 1


def test_a_wrong_password_is_said_without_it(broker):
    said = queue.Queue()
    mqtt = Mqtt(f"mqtt://watch:wrong@127.0.0.1:{broker}", said.put)
    mqtt.start()
    sentence = said.get(timeout=100)
    mqtt.close()
    assert f"mqtt://127.0.0.1:{broker}: it refuses the connection" in sentence and "wrong" not in sentence


def test_what_is_no_broker_is_refused():
    with pytest.raises(UsageError, match="not a broker"):
        Mqtt("http://user:secret@host", print)
