"""One file over http(s) into a stream: bounded in bytes and in time, from the host that was asked and no other.

A server that sends a byte now and then keeps every time-out of a socket quiet; a watchman outside closes the connection
instead, once the bytes of a stretch of time are too few or the whole takes too long. Nothing of an address but its
host and path is ever repeated, as people write passwords into the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import IO, Any
from urllib.parse import SplitResult, urlsplit

from nnla.errors import DownloadError, OptionError

__all__ = ["check_address", "download"]

LEAST_RATE = 1024  # bytes a second, on average over each stretch of `timeout` seconds

_PORTS = {"http": 80, "https": 443}
_BLOCK = 2**18


def check_address(url: str, name: str) -> str:
    """The address without a slash at its end.

    Raises
    ------
    OptionError
        Not http(s), or one that holds a user, a password, a query, or letters that an address has not. It is named,
        not repeated.

    Examples
    --------
    >>> check_address("https://sparse.tamu.edu/MM/", "base_url")
    'https://sparse.tamu.edu/MM'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = None, None
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts is None or not plain or parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise OptionError(f"{name} must be an address that starts with https:// or http://, host and path")
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url:
        raise OptionError(f"{name} must not hold a user, a password or a query; download by hand what asks for them")
    return url.rstrip("/")


def download(
    url: str,
    stream: IO[bytes],
    *,
    timeout: float,
    deadline: float,
    max_bytes: int,
    remedy: str,
    hosts: Collection[str] = (),
) -> str:
    """Write what an address holds into a stream.

    Parameters
    ----------
    url : from `check_address`, and a path
    stream : binary, writable
    timeout : seconds to wait for the connection and for each piece of data; in each such time `LEAST_RATE` bytes a
        second must arrive
    deadline : seconds for all
    max_bytes : at most
    remedy : what to do else, for messages
    hosts : that it may be redirected to, over https, beside its own

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Raises
    ------
    DownloadError
        No network, a server's error, too slow, too much, too little, or a redirection to elsewhere.

    Notes
    -----
    Cost: the download; a block of 256 KiB and a thread that mostly sleeps.
    """
    digest, received, announced = hashlib.sha256(), 0, None
    watch = _Watch(timeout, deadline)
    opener = urllib.request.build_opener(_Http(watch), _Https(watch), _Redirects(urlsplit(url), hosts))
    try:
        with (
            watch,
            opener.open(urllib.request.Request(url, headers={"User-Agent": "nnla"}), timeout=timeout) as response,
        ):
            announced = _announced(response, url, max_bytes)
            while block := response.read1(_BLOCK):
                received += len(block)
                watch.received = received
                if received > max_bytes:
                    raise DownloadError(f"{url}: over the limit of {max_bytes} bytes; raise max_bytes")
                digest.update(block)
                stream.write(block)
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url}: the server answers {error.code}; check the name, or {remedy}") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        reason = watch.reason or " ".join(str(getattr(error, "reason", None) or error or type(error).__name__).split())
        raise DownloadError(f"{url}: cannot be downloaded ({reason[:200]}); {remedy}") from None
    if watch.reason:  # a closed connection may look like the end
        raise DownloadError(f"{url}: cannot be downloaded ({watch.reason}); {remedy}")
    if announced is not None and received != announced:
        raise DownloadError(f"{url}: truncated, {received} of {announced} bytes; try again, or {remedy}")
    stream.flush()
    return digest.hexdigest()


def _announced(response: Any, url: str, max_bytes: int) -> int | None:
    text = response.headers.get("Content-Length", "")
    announced = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if announced is not None and announced > max_bytes:
        raise DownloadError(f"{url}: {announced} bytes, over the limit of {max_bytes}; raise max_bytes")
    return announced


class _Watch:
    """A watchman who closes the connections of a download that crawls, or that takes too long."""

    def __init__(self, timeout: float, deadline: float) -> None:
        self.reason, self.received = "", 0
        self._timeout, self._deadline = timeout, deadline
        self._sockets: list[socket.socket] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()

    def add(self, connection: socket.socket) -> None:
        """A socket that has just been connected; the watchman keeps it."""
        self._sockets.append(connection)
        if self.reason:
            self._close()

    def _run(self) -> None:
        end = time.monotonic() + self._deadline
        before = None  # the first stretch is the connection's
        while not self._done.wait(min(self._timeout, max(0.0, end - time.monotonic()))):
            if time.monotonic() >= end:
                self.reason = f"it takes more than {self._deadline:g} seconds"
            elif before is not None and self.received - before < LEAST_RATE * self._timeout:
                self.reason = f"timed out: {self.received - before} bytes in {self._timeout:g} seconds"
            if self.reason:
                self._close()
                return
            before = self.received if self._sockets else None

    def _close(self) -> None:
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for data; a close alone would not


class _WatchedConnection(http.client.HTTPConnection):
    """A connection that shows its socket to the watchman before anything is said on it."""

    watch: _Watch

    def connect(self) -> None:
        super().connect()
        self.watch.add(self.sock.dup())  # of the same connection, as TLS takes the first one over


class _WatchedTLS(http.client.HTTPSConnection, _WatchedConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._class = type("Watched", (_WatchedConnection,), {"watch": watch})

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._class, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._class = type("WatchedTLS", (_WatchedTLS,), {"watch": watch})

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._class, req)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirections within the host that was asked, never from https to http; or to others that are known, by https."""

    def __init__(self, asked: SplitResult, hosts: Collection[str]) -> None:
        self._asked, self._hosts = asked, hosts

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            to = urlsplit(newurl)
            place = (to.hostname, to.port or _PORTS.get(to.scheme))
        except ValueError:
            fp.close()
            raise DownloadError(f"{self._asked.geturl()}: is redirected to no address; download it by hand") from None
        asked = (self._asked.hostname, self._asked.port or _PORTS[self._asked.scheme])
        # http to https on the usual ports is the same place, better kept
        raised = (self._asked.scheme, to.scheme) == ("http", "https") and place == (asked[0], 443) and asked[1] == 80
        same = to.scheme == self._asked.scheme and place == asked
        known = to.scheme == "https" and self._asked.hostname in self._hosts and to.hostname in self._hosts
        if "@" in to.netloc or not (same or raised or (known and place[1] == 443)):
            fp.close()
            where = f"{to.scheme[:10]}://{(to.hostname or '')[:100]}"
            raise DownloadError(
                f"{self._asked.geturl()}: is redirected to {where}, another place than was asked; if you trust that "
                "one, give it as base_url"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
