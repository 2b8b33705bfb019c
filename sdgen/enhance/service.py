"""Chat services: where they are, with which key, and which addresses may be asked at all."""

import asyncio
import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from sdgen.errors import InvalidRequest, SettingError

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_MODEL = "gpt-6-luna"  # small and current; its price is in README.md
KEY = re.compile(r"[\x21-\x7e]{8,500}")
MODEL = re.compile(r"[\w.:/@+-]{1,200}", re.ASCII)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Service:
    """An OpenAI-compatible chat server. users_own: with a user's key, so at the user's expense.

    public_only: the address came from a user; it is asked only where it leads to the internet.
    """

    url: str
    model: str
    key: SecretStr | None = None  # None: a local server that wants none
    users_own: bool = False
    public_only: bool = False

    @property
    def host(self) -> str:
        """Who gets the prompt, as people read it: "api.openai.com", "localhost:11434"."""
        return urlsplit(self.url).netloc

    @property
    def is_openai(self) -> bool:
        return urlsplit(self.url).hostname == urlsplit(OPENAI_URL).hostname


def operators_service(url: str, model: str, key: SecretStr | None) -> Service | None:
    """The service that the settings name, or None. Raises SettingError.

    The operator's key goes to the operator's address only; without an address that is OpenAI's.
    """
    if key is not None and not KEY.fullmatch(key.get_secret_value()):
        if key.get_secret_value():
            raise SettingError("OPENAI_API_KEY is not a key: it holds spaces or is too short.")
        key = None
    if not url:
        return Service(OPENAI_URL, model or OPENAI_MODEL, key) if key else None
    parts = _parts(url)
    if parts is None or parts[0] not in ("http", "https"):
        raise SettingError(
            "SDGEN_ENHANCE_URL must look like http://localhost:11434/v1, with no login or query."
        )
    if not model and not Service(url, "").is_openai:
        raise SettingError("With SDGEN_ENHANCE_URL, set SDGEN_ENHANCE_MODEL to the model's name.")
    return Service(url.rstrip("/"), model or OPENAI_MODEL, key)


def users_service(key: str, url: str = "", model: str = "", *, urls_allowed: bool) -> Service:
    """The service of a user's own key: OpenAI, or the address that the user gives with it.

    Raises InvalidRequest; its sentence repeats nothing of what was given.
    """
    key, url, model = key.strip(), url.strip(), model.strip()
    if url and not urls_allowed:
        raise InvalidRequest("url", "Addresses of other services are not taken here.")
    if url and not key:
        raise InvalidRequest("key", "A service of your own needs a key of your own.")
    if not KEY.fullmatch(key):
        raise InvalidRequest("key", "This is not a key: it holds spaces or is too short.")
    if model and not MODEL.fullmatch(model):
        raise InvalidRequest("model", "This is not a name of a model.")
    secret = SecretStr(key)
    if not url:
        return Service(OPENAI_URL, model or OPENAI_MODEL, secret, users_own=True)
    parts = _parts(url)
    if parts is None or parts[0] != "https" or parts[2] not in (None, 443):
        raise InvalidRequest(
            "url", "The address must begin with https:// and have no port, login or query."
        )
    literal = _literal(parts[1])
    if literal is not None and not is_public(literal):
        raise InvalidRequest("url", "The address must lead to the internet, not into a network.")
    if not model:
        raise InvalidRequest("model", "Say which model of that service to use.")
    return Service(url.rstrip("/"), model, secret, users_own=True, public_only=True)


def _parts(url: str) -> tuple[str, str, int | None] | None:
    """(scheme, host, port) of a plain address, else None."""
    if len(url) > 500 or not re.fullmatch(r"[\x21-\x7e]+", url) or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if "@" in parts.netloc or parts.query or parts.fragment or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """True for an address of the internet; also when it is wrapped into an IPv6 one."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo or (None,))[0]
        if wrapped is None and address in ipaddress.ip_network("64:ff9b::/96"):
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(wrapped)
    return address.is_global and not address.is_multicast and not address.is_reserved


async def public_addresses(host: str, port: int) -> list[str]:
    """Where a name leads, if all of it is the internet. Raises OSError otherwise.

    The caller connects to these very addresses, so that a name cannot lead elsewhere afterwards.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    literals = [_literal(address) for address in addresses]
    if not literals or any(literal is None or not is_public(literal) for literal in literals):
        raise OSError("not a public address")
    return addresses
