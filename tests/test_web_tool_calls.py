"""A call of a tool counts for the address that it came from, whatever its headers say."""

import asyncio
from typing import Any

import pytest

from sdgen.web.tool_calls import PATH, ToolCalls

FORGED = [(b"x-forwarded-for", b"8.8.8.8"), (b"accept", b"*/*"), (b"x-forwarded-for", b"1.1.1.1")]


def passed_on(**scope: Any) -> dict[str, Any]:
    """The scope that the app behind sees."""
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: object, send: object) -> None:
        seen.append(scope)
        assert (receive, send) == ("receive", "send")

    given = {"type": "http", "root_path": "", "headers": list(FORGED), **scope}
    asyncio.run(ToolCalls(app)(given, "receive", "send"))  # type: ignore[arg-type]
    assert given["headers"] == FORGED, "what is handed over is left as it is"
    return seen[0]


@pytest.mark.parametrize("path", [PATH, f"{PATH}/", f"{PATH}/messages"])
def test_a_tool_s_call_has_its_caller_s_address(path: str) -> None:
    seen = passed_on(path=path, client=("203.0.113.7", 50000))
    assert seen["headers"] == [(b"accept", b"*/*"), (b"x-forwarded-for", b"203.0.113.7")]
    assert seen["path"] == path
    behind = passed_on(path=f"/app{path}", root_path="/app", client=("203.0.113.7", 50000))
    assert behind["headers"] == seen["headers"]


@pytest.mark.parametrize("client", [None, ()])
def test_where_the_address_is_not_known_none_is_told(client: object) -> None:
    assert passed_on(path=PATH, client=client)["headers"] == [(b"accept", b"*/*")]


@pytest.mark.parametrize(
    "scope",
    [
        {"path": "/gradio_api/call/generate", "client": ("203.0.113.7", 50000)},
        {"path": "/", "client": ("203.0.113.7", 50000)},
        {"path": PATH, "type": "websocket", "client": ("203.0.113.7", 50000)},
    ],
)
def test_other_requests_are_as_they_were(scope: dict[str, Any]) -> None:
    """The server reads their addresses, where it trusts the proxy."""
    assert passed_on(**scope)["headers"] == FORGED
