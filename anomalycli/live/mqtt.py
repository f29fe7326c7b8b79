"""Events to an MQTT broker, with what Home Assistant needs to find the streams by itself."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import UsageError
from ..version import __version__
from .messages import message, to_json
from .redaction import redact
from .tracking import News
from .watcher import Listener, WatchedStream
from .window import Scores

ROOT = "anomalycli"
STATUS = f"{ROOT}/status"  # online or offline, of the whole
DISCOVERY = "homeassistant"
PORTS = {"mqtt": 1883, "mqtts": 8883}
QUEUED = 1000  # messages that wait while the broker is away
SCORE_EVERY = 5.0  # seconds between scores of a stream


class Mqtt(Listener):
    """Publishes to the broker at `url`, mqtt://user:password@host:port (mqtts for TLS).

    Topics of a stream, below anomalycli/NAME: `event` (each piece of news as JSON), `state` (ON while an event is open,
    else OFF; retained), `score` (the newest; retained). anomalycli/status is online or offline.

    Raises UsageError if the extra is missing, or the URL is not of a broker.
    """

    def __init__(self, url: str, say: Callable[[str], None]):
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise UsageError("MQTT needs the extra: pip install 'anomalycli[mqtt]'.", "mqtt") from error
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise UsageError(f"{redact(url)}: not a broker, such as mqtt://user:password@host:1883.", "mqtt")
        self.shown, self.say = redact(url), say
        self._fault = ""
        self._open: dict[str, set[str]] = {}  # events that have not ended, by stream
        self._scored_at: dict[str, float] = {}
        client = Client(CallbackAPIVersion.VERSION2)
        if parts.username:
            client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            client.tls_set()
        client.will_set(STATUS, "offline", qos=1, retain=True)
        client.max_queued_messages_set(QUEUED)
        client.reconnect_delay_set(1, 60)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.on_connect_fail = lambda *_: self._fail("it cannot be reached")
        self._client = client
        self._place = parts.hostname, parts.port or PORTS[parts.scheme]

    def start(self) -> None:
        """Connect, and again whenever the connection is lost, in a thread of its own."""
        self._client.connect_async(*self._place)
        self._client.loop_start()

    def close(self) -> None:
        """Say that nothing is watched any more, and disconnect."""
        if self._client.is_connected():
            self._publish(STATUS, "offline").wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()

    def watch(self, stream: WatchedStream) -> None:
        """Announce a stream."""
        self._open.setdefault(stream.name, set())
        self._announce(stream.name)

    def forget(self, name: str) -> None:
        """Withdraw a stream."""
        self._open.pop(name, None)
        for kind in ("binary_sensor", "sensor"):
            self._publish(f"{DISCOVERY}/{kind}/{ROOT}_{_plain(name)}/config", "")

    def on_scores(self, stream: WatchedStream, scores: Scores) -> None:
        at = float(scores.times[-1]) if len(scores.times) else 0.0
        if at - self._scored_at.get(stream.name, 0.0) >= SCORE_EVERY:
            self._scored_at[stream.name] = at
            self._publish(f"{_topic(stream.name)}/score", f"{scores.newest:.3f}")

    def on_news(self, stream: WatchedStream, news: News) -> None:
        self._publish(f"{_topic(stream.name)}/event", to_json(message(news, stream.recording)), retain=False)
        going_on = self._open.setdefault(stream.name, set())
        was_on = bool(going_on)
        (going_on.add if news.event.is_open else going_on.discard)(news.event.id)
        if was_on != bool(going_on):
            self._publish(f"{_topic(stream.name)}/state", "ON" if going_on else "OFF")

    def _publish(self, topic: str, content: str, retain: bool = True) -> Any:
        return self._client.publish(topic, content, qos=1, retain=retain)

    def _announce(self, name: str) -> None:
        topic, plain = _topic(name), _plain(name)
        shared = {
            "availability_topic": STATUS,
            "device": {"identifiers": [f"{ROOT}_{plain}"], "name": name, "sw_version": __version__},
        }
        event = {"name": "Anomaly", "unique_id": f"{ROOT}_{plain}_event", "state_topic": f"{topic}/state"}
        event |= {"device_class": "problem", "json_attributes_topic": f"{topic}/event"}
        score = {"name": "Anomaly score", "unique_id": f"{ROOT}_{plain}_score", "state_topic": f"{topic}/score"}
        score |= {"state_class": "measurement"}
        for kind, config in (("binary_sensor", event), ("sensor", score)):
            self._publish(f"{DISCOVERY}/{kind}/{ROOT}_{plain}/config", json.dumps(config | shared))
        self._publish(f"{topic}/state", "ON" if self._open[name] else "OFF")

    def _connected(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._fail(f"it refuses the connection ({code})")
            return
        if self._fault:
            self.say(f"{self.shown}: connected again.")
        self._fault = ""
        self._publish(STATUS, "online")
        for name in list(self._open):  # the broker may have forgotten what it retained
            self._announce(name)

    def _disconnected(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._fail(self._fault or "the connection was lost")

    def _fail(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            self.say(f"{self.shown}: {fault}. Trying again.")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)


def _topic(name: str) -> str:
    return f"{ROOT}/{re.sub(r'[/+#]+', '_', name)}"
