"""Messages to web addresses: queued in the database, sent in order, again and again until they are taken."""

import base64
import hashlib
import hmac
import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ..errors import UsageError, cause
from ..version import __version__
from .database import EventDatabase
from .redaction import redact

FIRST_WAIT, LONGEST_WAIT = 1.0, 600.0  # seconds before a message is sent again; doubled each time
PATIENCE = 10.0  # seconds for an answer
LOOK = 0.5  # seconds between looks into an empty queue
SIGNATURE, TIMESTAMP = "X-Anomalycli-Signature", "X-Anomalycli-Timestamp"


def checked(url: str) -> str:
    """The web address as it is given. Raises UsageError if it is none."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without its other
        is_one = False
    if not is_one:
        shown = redact(url) if "://" in url else redact(f"http://{url}").removeprefix("http://")
        raise UsageError(f"{shown}: not a web address such as http://host:8080/path.", "webhooks")
    return url


def target_of(url: str) -> str:
    """The name of a web address in the queue: the address itself may contain a secret."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 of the time and the body: the receiver computes the same, and refuses old times."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


@dataclass
class _State:
    wait: float = FIRST_WAIT
    due: float = 0.0
    fault: str = ""


@dataclass
class Webhooks:
    """Sends what waits in `database` to `urls`, in a thread of its own."""

    database: EventDatabase
    urls: tuple[str, ...]
    say: Callable[[str], None]
    secret: str | None = None
    clock: Callable[[], float] = time.monotonic
    _states: dict[str, _State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="webhooks")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop sending; what waits stays in the database."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(PATIENCE + 1)

    def _run(self) -> None:
        while not self._stopped.is_set():
            if not self.send_due():
                self._stopped.wait(LOOK)

    def send_due(self) -> bool:
        """Try the oldest message of each address whose time has come; returns whether any was delivered."""
        delivered = False
        for url in self.urls:
            state = self._states.setdefault(url, _State())
            if self.clock() < state.due or not (waiting := self.database.first(target_of(url))):
                continue
            number, body = waiting
            fault = self._send(url, body.encode())
            if fault is None:
                self.database.pop(number)
                if state.fault:
                    self.say(f"{redact(url)}: messages are delivered again.")
                self._states[url] = _State()
                delivered = True
            else:
                if fault != state.fault:
                    self.say(f"{redact(url)}: a message was not taken ({fault}). It waits, and is sent again.")
                state.fault, state.due = fault, self.clock() + state.wait
                state.wait = min(2 * state.wait, LONGEST_WAIT)
        return delivered

    def _send(self, url: str, body: bytes) -> str | None:
        """None, or what was wrong."""
        headers = {"Content-Type": "application/json", "User-Agent": f"anomalycli/{__version__}"}
        if self.secret:
            headers[TIMESTAMP] = str(int(time.time()))
            headers[SIGNATURE] = f"sha256={signature(self.secret, headers[TIMESTAMP], body)}"
        try:
            address, account = _split(url)
            if account:
                headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
            with _opener.open(urllib.request.Request(address, body, headers), timeout=PATIENCE) as answer:
                return None if 200 <= answer.status < 300 else f"status {answer.status}"
        except urllib.error.HTTPError as error:
            return f"status {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            return redact(cause(getattr(error, "reason", error) if isinstance(error, urllib.error.URLError) else error))


def _split(url: str) -> tuple[str, str]:
    """A URL without its user and password, and these, as user:password."""
    parts = urlsplit(url)
    account, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=place).geturl(), unquote(account)


class _Stays(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects: they lead to addresses that the user did not name."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_Stays)
