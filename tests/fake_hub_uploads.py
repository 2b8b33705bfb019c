"""A Hub on 127.0.0.1 that takes repositories and commits, and remembers what it was sent."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class UploadHub:
    """What it holds and how it fails. `endpoint` is its address."""

    endpoint: str = ""
    private: dict[str, bool] = field(default_factory=dict)  # owner/name -> private
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)  # owner/name -> its content
    status: int = 0  # answer everything with this
    refuses: str = ""  # answer paths that contain this with 403
    tokens: set[str] = field(default_factory=set)  # that came as authorization


@contextmanager
def upload_hub() -> Iterator[UploadHub]:
    """A running UploadHub."""
    hub = UploadHub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
    hub: UploadHub
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""

    def _answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        path = urlsplit(self.path).path.strip("/")
        if self.hub.status or (self.hub.refuses and self.hub.refuses in path):
            self._json({"error": "no"}, self.hub.status or 403)
            return
        parts = path.split("/")
        if path == "api/repos/create":
            self._create(json.loads(content))
        elif path == "api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif parts[:2] == ["api", "models"] and len(parts) == 4:
            self._info("/".join(parts[2:]))
        elif parts[4:5] == ["preupload"]:
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            self._json({"files": modes})
        elif parts[4:5] == ["commit"]:
            self._commit("/".join(parts[2:4]), content)
        else:
            self._json({"error": "unknown"}, 404)

    def _create(self, asked: dict[str, object]) -> None:
        repo = f"{asked.get('organization', 'me')}/{asked['name']}"
        if repo in self.hub.private:
            self._json({"error": "exists", "url": f"{self.hub.endpoint}/{repo}"}, 409)
            return
        wanted = asked.get("private", asked.get("visibility") == "private")
        self.hub.private[repo] = bool(wanted)
        self.hub.files[repo] = {}
        self._json({"url": f"{self.hub.endpoint}/{repo}", "id": repo, "name": repo})

    def _info(self, repo: str) -> None:
        if repo not in self.hub.private:
            self._json({"error": "none"}, 404)
            return
        self._json({"id": repo, "sha": COMMIT, "private": self.hub.private[repo], "siblings": []})

    def _commit(self, repo: str, content: bytes) -> None:
        for line in content.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                value = entry["value"]
                self.hub.files[repo][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.hub.endpoint}/{repo}/commit/{COMMIT}"
        self._json({"commitUrl": url, "commitOid": COMMIT, "hookOutput": ""})

    def _json(self, value: object, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
