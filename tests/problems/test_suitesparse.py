"""Downloads, against a server on this machine."""

import gzip
import hashlib
import http.server
import io
import socket
import tarfile
import threading
import time

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from nnla.errors import DownloadError, FileFormatError, NNLAError, OptionError
from nnla.problems import suitesparse
from nnla.problems.suitesparse import COLLECTION, cache_directory, fetch

A = sp.csr_array(np.array([[4.0, -1.0, 0.0], [-1.0, 3.0, 0.5], [0.0, 0.5, 5.0]]))


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def market(matrix=A) -> bytes:
    stream = io.BytesIO()
    scipy.io.mmwrite(stream, matrix, symmetry="symmetric", precision=17)
    return stream.getvalue()


GOOD = archive({"tiny/README.txt": b"about", "tiny/tiny.mtx": market(), "tiny/tiny_b.mtx": b"junk"})
NOS5 = archive({"nos5/nos5.mtx": market()})  # the right name, the wrong matrix


def linked() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("linked/linked.mtx")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    return stream.getvalue()


FILES = {
    "/G/tiny.tar.gz": GOOD,
    "/G/cut.tar.gz": GOOD,
    "/G/broken.tar.gz": archive({"broken/broken.mtx": market()})[:-12],
    "/G/member.tar.gz": archive({"../member.mtx": market(), "/etc/member.mtx": market()}),
    "/G/linked.tar.gz": linked(),
    "/G/text.tar.gz": b"<html>not found, but 200</html>",
    "/HB/nos5.tar.gz": NOS5,
}


REDIRECTS = {
    "/G/other.tar.gz": "http://localhost:{port}/G/tiny.tar.gz",
    "/G/port.tar.gz": "http://127.0.0.1:1/G/tiny.tar.gz",
    "/G/user.tar.gz": "http://me:secret@127.0.0.1:{port}/G/tiny.tar.gz",
    "/G/scheme.tar.gz": "ftp://127.0.0.1:{port}/G/tiny.tar.gz",
    "/G/file.tar.gz": "file:///etc/passwd",
    "/G/same.tar.gz": "http://127.0.0.1:{port}/G/tiny.tar.gz?moved=1",
    "/G/loop.tar.gz": "/G/loop.tar.gz",
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append(self.path)
        if self.path == "/G/slow.tar.gz":
            time.sleep(1.0)
        if self.path in REDIRECTS:
            self.send_response(302)
            self.send_header("Location", REDIRECTS[self.path].format(port=self.server.server_port))
            self.end_headers()
            return
        if "trickle" in self.path:
            self.trickle()
            return
        content = FILES.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if "cut" in self.path else content)

    def trickle(self):
        """A byte now and then: of the content, or already of the headers."""
        if "body" in self.path:
            self.send_response(200)
            self.end_headers()
        for _ in range(200):
            self.wfile.write(b"H")
            self.wfile.flush()
            time.sleep(0.05)

    def log_message(self, *args):
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients that give up are part of the tests


@pytest.fixture(scope="module")
def server():
    with QuietServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.seen = []
        httpd.url = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def kept(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def fails(kind, *args, match=None, **kwargs) -> str:
    with pytest.raises(kind, match=match) as error:
        fetch(*args, timeout=5, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_download_once_then_from_the_cache(tmp_path, server):
    server.seen.clear()
    first = fetch("G/tiny", tmp_path, base_url=server.url)
    assert np.array_equal(first.toarray(), A.toarray())
    second = fetch("G/tiny", tmp_path, base_url=server.url)
    assert np.array_equal(second.toarray(), A.toarray())
    assert server.seen == ["/G/tiny.tar.gz"]
    assert kept(tmp_path) == ["tiny.tar.gz", "tiny.tar.gz.sha256"]
    recorded = (tmp_path / "suitesparse" / "G" / "tiny.tar.gz.sha256").read_text().split()
    assert recorded == [hashlib.sha256(GOOD).hexdigest(), "tiny.tar.gz"]


def test_trust_on_first_use_notices_a_changed_cache(tmp_path, server):
    fetch("G/tiny", tmp_path, base_url=server.url)
    other = archive({"tiny/tiny.mtx": market(2 * A)})
    (tmp_path / "suitesparse" / "G" / "tiny.tar.gz").write_bytes(other)
    assert "delete" in fails(DownloadError, "G/tiny", tmp_path, base_url=server.url, match="sha256")


def test_given_checksum(tmp_path, server):
    good = hashlib.sha256(GOOD).hexdigest()
    fails(DownloadError, "G/tiny", tmp_path, base_url=server.url, sha256="0" * 64, match="not kept")
    assert kept(tmp_path) == []
    fetch("G/tiny", tmp_path, base_url=server.url, sha256=good.upper())
    fetch("G/tiny", tmp_path, base_url=server.url, sha256=good)
    fails(DownloadError, "G/tiny", tmp_path, base_url=server.url, sha256="0" * 64)  # the cache is judged too
    fails(OptionError, "G/tiny", tmp_path, sha256="abc")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("G/cut", "truncated|IncompleteRead"),
        ("G/broken", "malformed|cannot be read"),
        ("G/member", "no member member/member.mtx"),
        ("G/linked", "no member"),
        ("G/text", "not"),
        ("G/absent", "404"),
        ("nos5", "n = 3, but the collection lists 468"),
    ],
)
def test_bad_answers_are_not_kept(tmp_path, server, name, match):
    text = fails(DownloadError, name, tmp_path, base_url=server.url, match=match)
    assert text.startswith(server.url)
    assert kept(tmp_path) == []
    assert not (tmp_path.parent / "member.mtx").exists()


def test_size_limit(tmp_path, server):
    fails(DownloadError, "G/tiny", tmp_path, base_url=server.url, max_bytes=100, match="limit")
    assert kept(tmp_path) == []


def test_server_down_says_where_to_put_the_file(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    text = fails(DownloadError, "thermal2", tmp_path, base_url=f"http://127.0.0.1:{port}")
    assert time.monotonic() - start < 5
    place = tmp_path / "suitesparse" / "Schmid" / "thermal2.mtx"
    assert str(place) in text
    assert "by hand" in text


def test_timeout(tmp_path, server):
    with pytest.raises(DownloadError, match="timed out"):
        fetch("G/slow", tmp_path, base_url=server.url, timeout=0.2)


@pytest.mark.parametrize("name", ["trickle_body", "trickle_head"])
def test_a_server_that_trickles_is_left(tmp_path, server, name):
    start = time.monotonic()
    with pytest.raises(DownloadError, match=r"timed out: .* bytes in 0\.3 seconds"):
        fetch(f"G/{name}", tmp_path, base_url=server.url, timeout=0.3)
    with pytest.raises(DownloadError, match=r"more than 0\.4 seconds"):
        fetch(f"G/{name}", tmp_path, base_url=server.url, timeout=5, deadline=0.4)
    assert time.monotonic() - start < 8  # of the ten seconds that it goes on for
    assert kept(tmp_path) == []


@pytest.mark.parametrize("name", ["other", "port", "user", "scheme", "file", "loop"])
def test_redirections_to_elsewhere_are_refused(tmp_path, server, name):
    text = fails(DownloadError, f"G/{name}", tmp_path, base_url=server.url, match="redirected|answers 302")
    assert "secret" not in text
    assert kept(tmp_path) == []


def test_redirections(monkeypatch):
    from urllib.parse import urlsplit
    from urllib.request import Request

    from nnla.problems.downloads import _Redirects

    def goes(asked, to):
        handler = _Redirects(urlsplit(asked), suitesparse.HOSTS)
        try:
            return handler.redirect_request(Request(asked), io.BytesIO(), 302, "", {}, to) is not None
        except DownloadError:
            return False

    assert goes("https://sparse.tamu.edu/MM/a", "https://sparse.tamu.edu/b")
    assert goes("https://sparse.tamu.edu/MM/a", f"https://{suitesparse.HOSTS[1]}/MM/a")
    assert goes("http://mirror.org/a", "https://mirror.org/a")
    assert not goes("https://sparse.tamu.edu/MM/a", "http://sparse.tamu.edu/MM/a")
    assert not goes("https://sparse.tamu.edu/MM/a", "https://sparse.tamu.edu.evil.org/MM/a")
    assert not goes("https://mirror.org/a", f"https://{suitesparse.HOSTS[1]}/MM/a")
    assert not goes("https://sparse.tamu.edu/MM/a", f"http://{suitesparse.HOSTS[1]}/MM/a")
    assert not goes("https://mirror.org/a", "https://mirror.org:444/a")
    assert not goes("https://mirror.org/a", "https://[::1/a")


def test_a_redirection_within_the_host_is_followed(tmp_path, server):
    # the archive's name is that of the matrix, so what comes is another one
    fails(DownloadError, "G/same", tmp_path, base_url=server.url, match="404")


ADDRESSES = [
    "https://me:secret@host/MM", "http://secret@host", "ftp://me:secret@host", "https://host/MM?key=secret",
    "https://host/#secret", "https://me:secret@[::1", "http://host:secret/", "https:///secret", "http://ho st/secret",
    "http://host/\r\nsecret: y", "http://hóst/secret", "secret", "",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_with_a_password_is_never_repeated(tmp_path, address):
    text = fails(OptionError, "G/tiny", tmp_path, base_url=address, match="base_url")
    assert "secret" not in text


@pytest.mark.parametrize("name", ["HB/" + "a" * 300, "b" * 5000, "c" * 101 + "/x"])
def test_long_names(tmp_path, name):
    assert len(fails(OptionError, name, tmp_path)) < 250


def test_file_put_by_hand(tmp_path):
    place = tmp_path / "suitesparse" / "G"
    place.mkdir(parents=True)
    (place / "mine.mtx").write_bytes(market())
    got = fetch("G/mine", tmp_path, base_url="http://127.0.0.1:9")
    assert np.array_equal(got.toarray(), A.toarray())
    assert (place / "mine.mtx.sha256").exists()
    (place / "mine.mtx").write_bytes(market(3 * A))
    fails(DownloadError, "G/mine", tmp_path, match="sha256")
    (place / "bad.mtx").write_bytes(b"junk")
    fails(FileFormatError, "G/bad", tmp_path)


@pytest.mark.parametrize("name", ["", "/", "G/../x", "..", "../nos5", "G/x/y", "G/x y", "G/.x", "nos5\n"])
def test_names_that_are_none(tmp_path, name):
    fails(OptionError, name, tmp_path, base_url="http://127.0.0.1:9")


def test_unknown_group_and_scheme(tmp_path):
    fails(OptionError, "tiny", tmp_path, match="GROUP/NAME")
    fails(OptionError, "nos5", tmp_path, base_url="file:///tmp", match="https")


def test_cache_that_cannot_be_written(tmp_path, server):
    (tmp_path / "file").write_text("")
    fails(NNLAError, "G/tiny", tmp_path / "file", base_url=server.url, match="NNLA_CACHE")


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("NNLA_CACHE", str(tmp_path / "a"))
    assert cache_directory() == tmp_path / "a" / "suitesparse"
    assert cache_directory(tmp_path / "b") == tmp_path / "b" / "suitesparse"
    monkeypatch.delenv("NNLA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "nnla" / "suitesparse"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "nnla" / "suitesparse"


def test_the_table_invents_no_checksum():
    assert len(COLLECTION) == 12
    for name, entry in COLLECTION.items():
        assert entry.sha256 is None or len(entry.sha256) == 64, name
    assert suitesparse.BASE_URL.startswith("https://")


def test_gzip_bomb_in_an_archive(tmp_path, server, monkeypatch):
    from nnla.problems import limits

    monkeypatch.setattr(limits, "FREE_BYTES", 2**20)
    FILES["/G/bomb.tar.gz"] = archive({"a": b"\0" * (32 * 2**20), "bomb/bomb.mtx": market()})
    assert len(gzip.decompress(FILES["/G/bomb.tar.gz"])) > 2**25
    fails(DownloadError, "G/bomb", tmp_path, base_url=server.url, match="unpacks to far more")
