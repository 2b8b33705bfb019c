"""One question to an OpenAI-compatible chat server. Imported only when a question is asked.

No redirects, no retries of the library's own, bodies of bounded size, and errors that repeat
nothing of what the server said: a server may echo the key.
"""

import functools
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import httpx2

from sdgen.enhance.cleaning import ANSWER_CHARS
from sdgen.enhance.service import Service, public_addresses
from sdgen.enhance.trouble import Reason, ServiceTrouble

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECT_SECONDS, READ_SECONDS = 3.0, 8.0
ANSWER_TOKENS = 400
BODY_BYTES = 512 * 1024  # of a whole answer with its wrapping, about 100 times a long prompt
RAW_CHARS = 4 * ANSWER_CHARS  # characters that are listened to, thoughts among them
WAIT_SECONDS_MAX = 120.0  # of a Retry-After that is believed


def prepare() -> None:
    """Import what a question needs and keep its chatter out of the log; about half a second."""
    import openai  # noqa: F401

    _no_chatter()
    _certificates()


async def ask(service: Service, system: str, user: str, hear: Callable[[str], None]) -> str:
    """The server's answer as it came, at most RAW_CHARS characters. Raises ServiceTrouble.

    hear: is called with each piece of text as it arrives.
    """
    import openai

    key = service.key.get_secret_value() if service.key else "none"
    try:
        async with (
            _client(service) as http,
            openai.AsyncOpenAI(
                api_key=key,
                base_url=service.url,
                organization="",
                project="",
                max_retries=0,
                http_client=http,
            ) as client,
        ):
            try:
                return await _listen(client, service, system, user, hear, plain=False)
            except openai.BadRequestError:  # it knows none of the options: ask without
                return await _listen(client, service, system, user, hear, plain=True)
    except openai.APIStatusError as error:
        raise _status_trouble(error.status_code, error.response.headers) from None
    except openai.APITimeoutError:
        raise ServiceTrouble("late") from None
    except openai.APIConnectionError as error:
        raise ServiceTrouble(_connection_reason(error)) from None
    except openai.APIError:  # an error in the midst of the stream
        raise ServiceTrouble("server") from None
    except _TooMuch:
        raise ServiceTrouble("too much") from None
    except httpx2.TimeoutException:
        raise ServiceTrouble("late") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, ssl.SSLError, OSError):
        raise ServiceTrouble("unreachable") from None
    except (openai.OpenAIError, ValueError, TypeError, AttributeError, LookupError, RuntimeError):
        raise ServiceTrouble("no text") from None  # what an answer of another form leads to


async def _listen(
    client: "AsyncOpenAI",
    service: Service,
    system: str,
    user: str,
    hear: Callable[[str], None],
    *,
    plain: bool,
) -> str:
    """Ask once, and take the answer as a stream, or whole from a server that does not stream."""
    options: dict[str, Any] = {} if plain else _options(service)
    answer: list[str] = []
    length = 0
    async with client.chat.completions.with_streaming_response.create(
        model=service.model,
        messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
        stream=True,
        **options,
    ) as response:
        if "json" in response.headers.get("content-type", ""):
            text = _content(json.loads(await response.read()))
            hear(text)
            return text[:RAW_CHARS]
        async for event in await response.parse():
            piece = event.choices[0].delta.content if event.choices else None
            if piece:
                hear(str(piece))
                answer.append(str(piece))
                length += len(answer[-1])
                if length > RAW_CHARS:
                    break
    return "".join(answer)[:RAW_CHARS]


def _options(service: Service) -> dict[str, Any]:
    if service.is_openai:
        return {"max_completion_tokens": ANSWER_TOKENS, "reasoning_effort": "none"}
    return {"max_tokens": ANSWER_TOKENS}


def _content(body: Any) -> str:
    """The text of a whole answer; "" where there is none."""
    if isinstance(body, dict) and isinstance(body.get("choices"), list) and body["choices"]:
        first = body["choices"][0]
        message = first.get("message") if isinstance(first, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            return content
    return ""


# --- the connection


class _TooMuch(Exception):
    """A body that never ends, or one packed so that it grows when opened."""


class _Bounded(httpx2.AsyncByteStream):
    """A body of at most BODY_BYTES bytes."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        room = BODY_BYTES
        async for part in self._stream:
            room -= len(part)
            if room < 0:
                raise _TooMuch
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: httpx2.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TooMuch
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _PublicOnly(httpx2.AsyncBaseTransport):
    """Connects to names only where all their addresses are of the internet, and to these."""

    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport(verify=_certificates(), trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host = request.url.host
        failure: httpx2.TransportError | None = None
        try:
            addresses = await public_addresses(host, request.url.port or 443)
        except OSError:
            raise ServiceTrouble("address") from None
        request.extensions["sni_hostname"] = host  # whose certificate is asked for
        for address in addresses:
            request.url = request.url.copy_with(host=address)
            try:
                return await self._inner.handle_async_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = error
        raise failure or httpx2.ConnectError("no address")

    async def aclose(self) -> None:
        await self._inner.aclose()


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom we believe. Reading it takes longer than all the rest of a client."""
    return httpx2.create_ssl_context()


def _client(service: Service) -> httpx2.AsyncClient:
    """A client of our own: openai's follows redirects and waits for ten minutes."""
    return httpx2.AsyncClient(
        transport=_PublicOnly() if service.public_only else None,
        verify=_certificates(),
        follow_redirects=False,
        timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        headers={"Accept-Encoding": "identity"},
        event_hooks={"response": [_bound]},
    )


# --- trouble


def _status_trouble(status: int, headers: httpx2.Headers) -> ServiceTrouble:
    match status:
        case 401 | 403:
            return ServiceTrouble("key")
        case 402 | 429:
            return ServiceTrouble("limit", _wait(headers.get("retry-after", "")))
        case _ if status < 400:
            return ServiceTrouble("redirect")
        case _ if status < 500:
            return ServiceTrouble("request")
        case _:
            return ServiceTrouble("server")


def _wait(retry_after: str) -> float:
    return min(float(retry_after), WAIT_SECONDS_MAX) if retry_after.strip().isdecimal() else 0.0


def _connection_reason(error: BaseException) -> Reason:
    """What kept a connection from working: openai wraps it, sometimes twice."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ServiceTrouble):
            return cause.reason
        if isinstance(cause, _TooMuch):
            return "too much"
        cause = cause.__cause__ or cause.__context__
    return "unreachable"


def _no_chatter() -> None:
    """Keep what these libraries log about requests out of our log: it holds prompts and headers."""
    for name in ("openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
