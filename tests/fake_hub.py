"""A Hub on 127.0.0.1 that serves folders of this machine, and can be told to misbehave."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What it serves and how it fails. `endpoint` is its address."""

    endpoint: str = ""
    repos: dict[str, Path] = field(default_factory=dict)  # owner/name -> folder
    gated: set[str] = field(default_factory=set)  # listed, but their files are for nobody here
    status: int = 0  # answer everything with this
    cut: str = ""  # send only the first half of files whose name ends so
    sizes: dict[str, int] = field(default_factory=dict)  # lies about sizes, by file name
    fetched: list[str] = field(default_factory=list)  # files whose content was sent

    def files(self, repo: str) -> list[dict[str, object]]:
        """The file list as the Hub's API gives it."""
        folder = self.repos[repo]
        found = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                size = self.sizes.get(name, path.stat().st_size)
                entry: dict[str, object] = {"name": name, "size": size, "sha": _sha256(path)}
                found.append(entry)
        return found


@contextmanager
def fake_hub(**repos: Path) -> Iterator[FakeHub]:
    """A running FakeHub. Names of `repos` have `__` for the slash: owner__name=folder."""
    hub = FakeHub(repos={name.replace("__", "/"): folder for name, folder in repos.items()})

    class Handler(_Handler):
        pass

    Handler.hub = hub

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # the Hub's client opens many connections at once

    server = Server(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.0"  # the end of the connection is the end of the body

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def _answer(self, *, body: bool) -> None:
        if self.hub.status:
            self._error(self.hub.status)
            return
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._api("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body)
        else:
            self._error(404)

    def _known(self, repo: str, revision: str) -> bool:
        if repo not in self.hub.repos:
            self._error(401, "RepoNotFound")
        elif revision not in ("main", COMMIT):
            self._error(404, "RevisionNotFound")
        else:
            return True
        return False

    def _api(self, repo: str, rest: list[str]) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        if not self._known(repo, revision):
            return
        files = self.hub.files(repo)
        if rest[:1] == ["tree"]:
            self._json(
                [
                    {
                        "type": "file",
                        "path": file["name"],
                        "size": file["size"],
                        "oid": str(file["sha"])[:40],
                        "lfs": {"oid": file["sha"], "size": file["size"], "pointerSize": 130},
                    }
                    for file in files
                ]
            )
            return
        siblings = [
            {
                "rfilename": file["name"],
                "size": file["size"],
                "blobId": str(file["sha"])[:40],
                "lfs": {"sha256": file["sha"], "size": file["size"], "pointerSize": 130},
            }
            for file in files
        ]
        self._json({"id": repo, "sha": COMMIT, "siblings": siblings})

    def _file(self, repo: str, revision: str, name: str, body: bool) -> None:
        if not self._known(repo, revision):
            return
        if repo in self.hub.gated:
            self._error(401, "GatedRepo")
            return
        path = self.hub.repos[repo] / name
        if not path.is_file():
            self._error(404, "EntryNotFound")
            return
        content = path.read_bytes()
        size = self.hub.sizes.get(name, len(content))
        cut = bool(self.hub.cut) and name.endswith(self.hub.cut)
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{_sha256(path)}"')
        self.send_header("X-Linked-Size", str(size))
        self.send_header("ETag", f'"{_sha256(path)}"')
        if not cut:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.hub.fetched.append(name)
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _error(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
