"""Requests exactly as they stand, which no client library would send."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]  # names in small letters
    body: bytes


def ask(
    url: str,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Ask the server at `url` for `path`, which is sent as it stands."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection._validate_path = lambda path: None  # type: ignore[attr-defined]
    connection._encode_request = lambda text: text.encode("latin-1")  # type: ignore[attr-defined]
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read())
    finally:
        connection.close()


def uploaded(url: str, name: str, content: bytes) -> str:
    """Upload one file to Gradio; its path there."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%s\r\n--x--\r\n" % (name.encode(), content)
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = ask(url, "/gradio_api/upload", "POST", headers, body)
    assert answer.status == 200, answer
    (path,) = json.loads(answer.body)
    return str(path)
