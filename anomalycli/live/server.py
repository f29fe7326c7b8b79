"""The page of all streams, a health check and metrics, over HTTP."""

import asyncio
import ipaddress
import json
import secrets
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import jinja2

from ..errors import UsageError, cause
from ..export.verdicts import VERDICTS
from ..version import __version__
from .board import Board
from .database import EventDatabase

try:  # the extra
    import uvicorn
    from starlette import responses
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.routing import Route
except ImportError:
    uvicorn = None  # type: ignore[assignment]

COOKIE = "anomalycli-live"
EVERY = 1.0  # seconds between updates of the page
MOST_BYTES = 1 << 16  # of a verdict
OPEN_TO_ALL = ("/healthz",)
POLICY = "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'nonce-{0}'; script-src 'nonce-{0}'"


class LiveServer:
    """Serves `board` at `address` (host:port, or a port) in a thread; `url` is the address to open.

    Other machines need `token`. Raises UsageError if the extra is missing, the address is invalid or taken, or other
    machines could reach it and there is no token.
    """

    def __init__(self, address: str, board: Board, database: EventDatabase | None = None, token: str | None = None):
        if uvicorn is None:
            raise UsageError("A page needs the extra: pip install 'anomalycli[live]'.", "serve")
        host, port = split_address(address)
        self.is_local = _is_loopback(host)
        if not self.is_local and not token:
            raise UsageError(
                f"{address}: other machines can reach this address. Set a token in the variable ANOMALYCLI_TOKEN, or "
                "serve at 127.0.0.1.",
                "serve",
            )
        self.board, self.database = board, database
        self.token = None if self.is_local else token
        self._socket = _listening(host, port)
        self.port = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.hosts = {f"{name}:{self.port}" for name in (shown, "127.0.0.1", "localhost", "[::1]")}
        self.url = f"http://{shown}:{self.port}/"
        config = uvicorn.Config(self._app(), log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True, name="page")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread.ident:
            self._thread.join(5)
        self._socket.close()

    def _app(self) -> Any:
        routes = [
            Route("/", self._page),
            Route("/state", self._stream_state),
            Route("/events", self._events),
            Route("/events/{number}/verdict", self._judge, methods=["POST"]),
            Route("/events/{number}.jpg", self._event_picture),
            Route("/streams/{name:path}.jpg", self._picture),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_Guard, server=self)])

    async def _page(self, _request: Any) -> Any:
        nonce = secrets.token_urlsafe(16)
        html = _template().render(nonce=nonce, version=__version__, verdicts=[*VERDICTS])
        return responses.HTMLResponse(
            html, headers={"Content-Security-Policy": POLICY.format(nonce), "Cache-Control": "no-store"}
        )

    async def _stream_state(self, request: Any) -> Any:
        """Server-sent events: the state of all streams, and events whenever one changes."""

        async def states() -> AsyncIterator[str]:
            shown = -1
            while not (self._server.should_exit or await request.is_disconnected()):
                state: dict[str, Any] = {"streams": self.board.streams()}
                if shown != self.board.version:
                    shown = self.board.version
                    state["events"] = self._stored()
                yield f"data: {json.dumps(state)}\n\n"
                await asyncio.sleep(EVERY)

        return responses.StreamingResponse(
            states(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    def _stored(self) -> list[dict[str, Any]]:
        return self.database.events() if self.database else self.board.events()

    async def _events(self, _request: Any) -> Any:
        return responses.JSONResponse(self._stored())

    async def _judge(self, request: Any) -> Any:
        try:
            body = await request.body()
            given = json.loads(body if len(body) <= MOST_BYTES else b"null")
            verdict, note = given["verdict"], given.get("note", "")
            if verdict not in (None, *VERDICTS) or not isinstance(note, str):
                raise ValueError("not a verdict")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return responses.JSONResponse({"error": cause(error)}, 400)
        number = request.path_params["number"]
        known = self.board.judge(number, verdict, note)
        if self.database:
            known = self.database.judge(number, verdict, note)
        return responses.JSONResponse({"known": known}, 200 if known else 404)

    async def _event_picture(self, request: Any) -> Any:
        number = request.path_params["number"]
        picture = self.board.event_picture(number)
        return _jpeg(self.database.picture(number) if not picture and self.database else picture)

    async def _picture(self, request: Any) -> Any:
        return _jpeg(self.board.picture(request.path_params["name"]))

    async def _health(self, _request: Any) -> Any:
        is_well, words = self.board.health()
        return responses.JSONResponse(words, 200 if is_well else 503)

    async def _metrics(self, _request: Any) -> Any:
        waiting = self.database.n_waiting() if self.database else 0
        return responses.PlainTextResponse(self.board.metrics(waiting), media_type="text/plain; version=0.0.4")


class _Guard:
    """Accepts requests with the token or, on this machine, to its own name, which pages of other sites do not use."""

    def __init__(self, app: Any, server: LiveServer):
        self.app, self.server = app, server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        server, given = self.server, request.query_params.get("token", "")
        answer: Any = self.app
        if server.token is None:
            if request.headers.get("host", "") not in server.hosts:
                answer = responses.PlainTextResponse("Open the address that `anomalycli watch` printed.", 403)
        elif scope["path"] not in OPEN_TO_ALL:
            bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
            if _same(given, server.token):
                answer = responses.RedirectResponse(scope["path"], 303)
                answer.set_cookie(COOKIE, server.token, httponly=True, samesite="strict")
            elif not any(_same(word, server.token) for word in (bearer, request.cookies.get(COOKIE, ""))):
                answer = responses.PlainTextResponse("Add ?token=… to the address once.", 403)
        origin = request.headers.get("origin")
        if request.method == "POST" and origin and urlsplit(origin).netloc != request.headers.get("host"):
            answer = responses.PlainTextResponse("Pages of other sites may not change anything.", 403)
        await answer(scope, receive, send)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of host:port, [host]:port or a port alone. Raises UsageError for anything else."""
    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise UsageError(f"{address}: not an address such as 127.0.0.1:8765.", "serve")
    return host.strip("[]") or "127.0.0.1", int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UsageError where that cannot be."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host}:{port}: cannot listen there ({cause(error)}).", "serve") from error
    return listener


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _jpeg(content: bytes | None) -> Any:
    headers = {"Cache-Control": "no-store"}
    return responses.Response(content, 200, headers, "image/jpeg") if content else responses.Response(b"", 404, headers)


def _template() -> jinja2.Template:
    loader = jinja2.ChoiceLoader(
        [jinja2.PackageLoader("anomalycli.live"), jinja2.PackageLoader("anomalycli.export")]  # the look of pages
    )
    return jinja2.Environment(loader=loader, autoescape=True).get_template("live.html")
