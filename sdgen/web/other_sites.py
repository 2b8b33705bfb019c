"""What a page of another site may do here through a visitor's browser: nothing in his name.

Browsers send cookies along with what other sites' pages ask for, and Gradio lets any site call a
public app. So a request that a page of another site makes loses its cookies, and its answer sets
none, or a new one would replace the visitor's: it is a program's without a token, or without a
login. Where the app is for this machine alone, such a request cannot change anything at all, e.g.
fill the disk with uploads. Following a link is no such request.

A site can also let its own name lead to this machine (DNS rebinding); then the browser takes its
page and the app for one site. So an app for this machine alone answers only under this machine's
names. And no other site's page shows the app inside a frame, where its visitor would click on it
unawares; but Hugging Face's shows a Space.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE = ("GET", "HEAD", "OPTIONS")
SPACE_FRAMES = ("https://huggingface.co", "https://*.hf.space")
_DEFAULT_PORTS = {"http": 80, "https": 443}
ANOTHER_NAME = (
    "This app is for the machine it runs on, and answers there as localhost or 127.0.0.1. "
    "To use it under another name, start it with --auth NAME:PASSWORD, or with --yes-public for "
    "everybody.\n"
)


def is_from_another_site(method: str, headers: Mapping[str, str], scheme: str = "http") -> bool:
    """True where a page of another origin made the request, as the browser says.

    Sec-Fetch-Site is sent by browsers over https and to this machine, Origin with every POST.
    Programs send neither. https://www.w3.org/TR/fetch-metadata
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        follows_a_link = method in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        return site not in ("same-origin", "none") and not follows_a_link
    origin = headers.get("origin")
    if origin is None:
        return False
    hosts = [headers.get("host", "")]
    hosts += headers.get("x-forwarded-host", "").split(",")[:1]
    return not any(_place(origin) == _place(f"{scheme}://{host}") for host in hosts if host)


def is_of_this_machine(host: str) -> bool:
    """True for a Host header that no other site can have: localhost or an IP address, or none."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(url: str) -> tuple[str, int | None] | None:
    """Host and port of an address; None where it is none, e.g. "null"."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        # Behind a proxy that ends TLS the scheme may not be known here; a port that is left out
        # then stands for either.
        return (parts.hostname, None if port in (80, 443) else port) if parts.hostname else None
    except ValueError:
        return None


class OtherSites:
    """The outermost of our middlewares: takes cookies, or all, from other sites' requests."""

    def __init__(
        self, app: ASGIApp, *, may_call: bool, any_name: bool, frames: Sequence[str] = ()
    ) -> None:
        """may_call: other sites' pages may use the endpoints, as strangers. any_name: the app
        answers under whatever name it is reached by. frames: sites that may show it in a frame."""
        self.app = app
        self.may_call = may_call
        self.any_name = any_name
        self._policy = " ".join(("frame-ancestors 'self'", *frames))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = self._unframed(send)
        if scope["type"] in ("http", "websocket"):
            method = scope.get("method", "POST")  # a websocket can do anything
            headers = Headers(scope=scope)
            named = self.any_name or is_of_this_machine(headers.get("host", ""))
            other = is_from_another_site(method, headers, scope.get("scheme", "http"))
            if scope["type"] == "websocket" and (other or not named):
                await send({"type": "websocket.close", "code": 1008})
                return
            if not named:
                await PlainTextResponse(ANOTHER_NAME, 403)(scope, receive, send)
                return
            if other:
                if not self.may_call and method not in _SAFE:
                    refusal = PlainTextResponse("A page of another site cannot use this app.", 403)
                    await refusal(scope, receive, send)
                    return
                kept = [pair for pair in scope["headers"] if pair[0] != b"cookie"]
                scope = {**scope, "headers": kept}
                send = _without_cookies(send)
        await self.app(scope, receive, send)

    def _unframed(self, send: Send) -> Send:
        """Sends with a policy on frames, where an answer has none of its own."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                MutableHeaders(scope=message).setdefault("Content-Security-Policy", self._policy)
            await send(message)

        return sent


def _without_cookies(send: Send) -> Send:
    """Sends an answer that leaves the browser's cookies as they are."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", [])
            kept = [pair for pair in given if pair[0].lower() != b"set-cookie"]
            message = {**message, "headers": kept}
        await send(message)

    return sent
