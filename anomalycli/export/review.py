"""A web server for review pages, which writes the verdicts into their folder.

It serves the pages of one folder, and the videos that they show, to clients that have its token. It writes two files,
verdicts.json and labels.csv in that folder, and nothing else.
"""

import hashlib
import html
import json
import mimetypes
import os
import re
import secrets
import socket
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ..errors import AnomalyError, UsageError
from ..media import VIDEO_SUFFIXES
from .verdicts import KEY, VerdictStore

COOKIE = "anomalycli"
EVERYWHERE = ("", "0.0.0.0", "::")  # hosts that stand for all addresses of a machine
MOST_BYTES = 8 << 20  # of a record that is sent
BLOCK = 1 << 18  # bytes of a video that are sent at once
DATA = '<script type="application/json" id="data">'
SOURCE = re.compile(r'(<video id="video" src=")([^"]*)(")')
POLICY = "default-src 'none'; "


class ReviewServer(ThreadingHTTPServer):
    """Serves the pages in `folder`; `url` is the address to open, with the token in it.

    Raises UsageError where there is no page, or labels.csv is not from a review; OSError where the address is taken.
    """

    daemon_threads = True

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0):
        self.folder = folder.resolve()
        pages = sorted(self.folder.rglob("*.html"), key=lambda page: (page.name != "index.html", len(page.parts), page))
        if not pages:
            raise UsageError(f"{folder}: there is no page in this folder. `score` writes pages with its format html.")
        self.first = "/" + quote(os.fsencode(pages[0].relative_to(self.folder).as_posix()))
        self.verdicts = VerdictStore(self.folder)
        self.token = secrets.token_urlsafe(24)
        self.videos: dict[str, Path] = {}  # by the name that the served pages have for them
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        name = socket.gethostname() if host in EVERYWHERE else f"[{host}]" if ":" in host else host
        # names that this server may be asked by; who listens everywhere cannot know them all
        known = {f"{known}:{self.server_port}" for known in (name, "127.0.0.1", "localhost")}
        self.hosts = None if host in EVERYWHERE else known
        self.url = f"http://{name}:{self.server_port}/?token={self.token}"

    def page(self, path: Path) -> bytes:
        """The page with the stored verdicts, permission to send new ones, and addresses of videos on this server."""
        content = path.read_text(encoding="utf-8")
        served = json.dumps({"token": self.token, "records": self.verdicts.records}).replace("<", "\\u003c")
        content = content.replace(DATA, f'<script type="application/json" id="served">{served}</script>\n{DATA}', 1)
        content = content.replace(POLICY, f"{POLICY}connect-src 'self'; ", 1)
        return SOURCE.sub(lambda match: match[1] + self._video(match[2], path) + match[3], content, count=1).encode()

    def _video(self, source: str, page: Path) -> str:
        """The address here of the video that a page names, or that name where it is not a video file."""
        address = urlsplit(html.unescape(source))
        if address.scheme not in ("", "file") or address.netloc:
            return source
        path = Path(os.path.normpath(page.parent / unquote(address.path, errors="surrogateescape")))
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            return source
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16] + path.suffix.lower()
        self.videos[name] = path
        return f"/videos/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "anomalycli", ""
    timeout = 60

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        given = parse_qs(address.query).get("token", [""])[0]
        if not self._known(given):
            self._answer(HTTPStatus.FORBIDDEN, b"Open the address that `anomalycli review` printed.")
        elif given or address.path == "/":
            self._redirect(self.server.first if address.path == "/" else "/" + address.path.lstrip("/"))
        elif address.path.startswith("/videos/"):
            self._send_file(self.server.videos.get(address.path.removeprefix("/videos/")))
        else:
            self._send_page(address.path)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        status, content = self._put()
        self.close_connection = status != HTTPStatus.NO_CONTENT  # what was sent may not have been read
        self._answer(status, content)

    def _put(self) -> tuple[HTTPStatus, bytes]:
        """Keep the record that is sent; return the answer."""
        length = self.headers.get("Content-Length", "")
        token = self.headers.get("X-Token", "")
        if not self._known() or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            return HTTPStatus.FORBIDDEN, b""
        key = self.path.removeprefix("/verdicts/")
        if not self.path.startswith("/verdicts/") or not KEY.fullmatch(key):
            return HTTPStatus.NOT_FOUND, b""
        if not (length.isascii() and length.isdigit() and int(length) <= MOST_BYTES):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b""
        try:
            self.server.verdicts.put(key, json.loads(self.rfile.read(int(length))))
        except (ValueError, RecursionError):
            return HTTPStatus.BAD_REQUEST, b""
        except (AnomalyError, OSError) as error:
            return HTTPStatus.INSUFFICIENT_STORAGE, str(error).encode(errors="replace")
        return HTTPStatus.NO_CONTENT, b""

    def _known(self, given: str = "") -> bool:
        """Whether the request names this server, which prevents DNS rebinding, and has the token."""
        if self.server.hosts is not None and self.headers.get("Host") not in self.server.hosts:
            return False
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        tokens = [given, cookie.value if cookie else ""]
        return any(secrets.compare_digest(token.encode(), self.server.token.encode()) for token in tokens)

    def _redirect(self, target: str) -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", target)
        self.send_header("Set-Cookie", f"{COOKIE}={self.server.token}; HttpOnly; SameSite=Strict; Path=/")
        self._finish_headers(0)

    def _send_page(self, address: str) -> None:
        path = Path(os.path.realpath(self.server.folder / unquote(address, errors="surrogateescape").lstrip("/")))
        if path.suffix.lower() == ".html" and path.is_relative_to(self.server.folder) and path.is_file():
            self._answer(HTTPStatus.OK, self.server.page(path), "text/html; charset=utf-8")
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _send_file(self, path: Path | None) -> None:
        if path is None or not path.is_file():
            self._answer(HTTPStatus.NOT_FOUND)
            return
        with open(path, "rb") as file:
            self._send_part(file, os.fstat(file.fileno()).st_size, mimetypes.guess_type(path.name)[0])

    def _send_part(self, file: BinaryIO, size: int, kind: str | None) -> None:
        """Send the part of the file that is asked for, as players need it to seek, or all of it."""
        start, end, status = 0, size, HTTPStatus.OK
        if match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first, last = match.groups()
            start = int(first) if first else max(0, size - int(last or 0))
            end = min(size, int(last) + 1) if first and last else size
            status = HTTPStatus.PARTIAL_CONTENT
            if start >= end:
                self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
        self.send_response(status)
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self._finish_headers(end - start)
        file.seek(start)
        while self.command != "HEAD" and start < end and (block := file.read(min(BLOCK, end - start))):
            self.wfile.write(block)
            start += len(block)

    def _answer(self, status: HTTPStatus, content: bytes = b"", kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self._finish_headers(len(content))
        if self.command != "HEAD":
            self.wfile.write(content)

    def _finish_headers(self, length: int) -> None:
        for name, value in (
            ("Content-Length", str(length)),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError):  # the browser has left, as players do when they seek
            self.close_connection = True

    def log_message(self, format: str, *args) -> None:
        """Requests are not logged."""
