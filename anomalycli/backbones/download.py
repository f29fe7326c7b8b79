"""Fetching one file over HTTP: resumed where it broke, bounded in size and time, and whole or not at all."""

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..errors import cause

TIMEOUT = 30  # seconds without a byte
LONGEST = 3 * 3600.0  # seconds, all attempts together
MOST = 1 << 30  # bytes of a file whose size is not published
RETRIES = 4
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one

OnBytes = Callable[[str, int, int | None], None]  # name, bytes there, bytes in all (None: not known)


class DownloadError(Exception):
    """The file cannot be fetched, and why."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and from http to http: never from https to a protocol that others can change."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        old, new = (urllib.parse.urlsplit(url).scheme for url in (req.full_url, newurl))
        if new != "https" and (old, new) != ("http", "http"):
            raise DownloadError(f"the server redirects from {old} to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(name: str, address: str, part: Path, size: int | None, on_bytes: OnBytes | None) -> None:
    """Fetch `address` into `part`, from where `part` ends. `size` is the published one, in bytes, if there is one.

    `on_bytes` is called with the progress of `name`. Raises DownloadError after the last attempt.
    """
    if urllib.parse.urlsplit(address).scheme not in ("https", "http"):
        raise DownloadError("addresses begin with https:// or, for a mirror, http://")
    end = time.monotonic() + LONGEST
    for attempt in range(RETRIES):
        try:
            return _transfer(name, address, part, size, on_bytes, end)
        except (OSError, http.client.HTTPException) as error:
            reason = error
            if isinstance(error, urllib.error.HTTPError) and error.code == 416:
                part.unlink(missing_ok=True)  # longer than the file: it was another one
            elif isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429:
                break  # asking again will not help
        if attempt < RETRIES - 1:
            time.sleep(PAUSE * 2**attempt)
    raise DownloadError(cause(reason)) from reason


def _transfer(name: str, address: str, part: Path, size: int | None, on_bytes: OnBytes | None, end: float) -> None:
    """One attempt. Raises OSError or HTTPException if it ends early, DownloadError if another one cannot help."""
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as answer:
        if answer.status == 206 and _begin(answer) != there:
            part.unlink(missing_ok=True)
            raise http.client.HTTPException("the server sent another part of the file than it was asked for")
        if answer.status != 206:  # the server sends the whole
            there = 0
        length = answer.headers.get("Content-Length")
        total = there + int(length) if length else size
        most = size or MOST
        with open(part, "ab" if there else "wb") as file:
            while block := answer.read1(1 << 18):
                there += len(block)
                if max(there, total or 0) > most:
                    raise _dropped(part, f"the server sends more than {most} bytes")
                if time.monotonic() > end:
                    raise DownloadError(f"it took more than {LONGEST / 3600:g} hours; the next try continues")
                file.write(block)
                if on_bytes:
                    on_bytes(name, there, total)
    if total and there < total:
        raise http.client.IncompleteRead(b"", total - there)


def _begin(answer: http.client.HTTPResponse) -> int | None:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _dropped(part: Path, why: str) -> DownloadError:
    part.unlink(missing_ok=True)
    return DownloadError(why)
