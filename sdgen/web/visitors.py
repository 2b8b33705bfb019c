"""Who asks: the login, a program's token, or the personal token that a browser keeps as a cookie.

    visitor_of(request, request.username, settings)      # for every handler of page and endpoints

The token is 32 random digits in a cookie that scripts cannot read. Cookies belong to a host, not
to a port: a browser tells two sdgen apps on one machine the same token, which does no harm, as
each has pictures of its own. Where there is a login, its name decides and no token counts.
"""

import hashlib
import ipaddress
import os
import secrets
from typing import Any, Protocol
from urllib.parse import urlsplit

from sdgen.config import Settings
from sdgen.owners import (
    ANYONE,
    LOCAL_VISITOR,
    Visitor,
    is_token,
    owner_of_login,
    owner_of_token,
)

COOKIE = "sdgen-token"
COOKIE_SECONDS = 365 * 24 * 3600  # renewed by every visit of the page
TOKEN_HEADER = "x-sdgen-token"
_SALT = secrets.token_bytes(16)  # of this process: payers are not known again after a restart


class Asking(Protocol):
    """What is read of a request: Starlette's, FastAPI's and Gradio's all have it."""

    @property
    def headers(self) -> Any: ...
    @property
    def cookies(self) -> Any: ...
    @property
    def client(self) -> Any: ...


def visitor_of(
    request: Asking, username: str | None, settings: Settings, on_space: bool | None = None
) -> Visitor:
    """Who asks, and whom limits count for.

    username: of the login, None without one. on_space: None: as the environment says. A visitor
    without login and token is ANYONE. Limits count for the login; on a page that strangers can
    reach for the network address, as a token is had for the asking; else for the owner.
    """
    if settings.one_user:
        return LOCAL_VISITOR
    if username:
        owner = owner_of_login(username)
        return Visitor(owner, owner)
    token = _get(request.headers, TOKEN_HEADER)
    if not is_token(token):
        token = cookie_token(request)
    owner = owner_of_token(token) if token else ANYONE
    if on_space is None:
        on_space = "SPACE_ID" in os.environ
    address = address_of(request, on_space) if on_space or settings.is_public else ""
    return Visitor(owner, _payer(address) if address else owner)


def cookie_token(request: Asking) -> str:
    """The browser's personal token; "" where it has none, or one that is none of ours."""
    token = _get(request.cookies, COOKIE)
    return token if is_token(token) else ""


def personal_link(request: Asking, settings: Settings) -> str:
    """What leads another browser to this one's queue and pictures, relative to the page; "" where
    a login decides, where all are one user, and where the browser keeps no cookies.

    Whoever has it is this visitor: show it to this browser alone, and only when it is asked for.
    """
    if settings.one_user or settings.login():
        return ""
    token = cookie_token(request)
    return f"./?me={token}" if token else ""


def address_of(request: Asking, on_space: bool = False) -> str:
    """The network address that a request came from; "" where it is not known.

    Behind a proxy the server has read X-Forwarded-For already, where it trusts that proxy
    (FORWARDED_ALLOW_IPS). On a Space every request passes Hugging Face's proxies, whose last
    entry with a public address is the visitor. Of IPv6 the first half counts: the rest is the
    visitor's own to change.
    """
    host = getattr(request.client, "host", None) or ""
    if on_space:
        for entry in reversed(_get(request.headers, "x-forwarded-for").split(",")):
            address = _parse(entry.strip())
            if address is not None and address.is_global:
                host = entry.strip()
                break
    address = _parse(host)
    if address is None:
        return str(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def cookie_header(token: str, *, on_space: bool, https: bool, root_path: str = "") -> str:
    """The value of Set-Cookie that gives a browser its token.

    A Space's page is inside a frame of another site: there the cookie has to be for such frames,
    and is kept for that site alone (Partitioned).
    """
    path = urlsplit(root_path).path.rstrip("/") or "/"
    parts = [f"{COOKIE}={token}", f"Max-Age={COOKIE_SECONDS}", f"Path={path}", "HttpOnly"]
    if on_space:
        parts += ["SameSite=None", "Secure", "Partitioned"]
    else:
        parts += ["SameSite=Lax", *(["Secure"] if https else [])]
    return "; ".join(parts)


def _payer(address: str) -> str:
    return hashlib.sha256(_SALT + address.encode()).hexdigest()[:20]


def _get(mapping: Any, name: str) -> str:
    """A header's or a cookie's text, "" without it. By index: Gradio may hand over an object whose
    methods the names of cookies shadow."""
    try:
        value = mapping[name]
    except KeyError:
        return ""
    return value if isinstance(value, str) else ""


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
