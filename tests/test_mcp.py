"""The endpoints as MCP tools, asked by the protocol's own client over HTTP."""

import ast
import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent, Tool

from sdgen.config import Settings
from sdgen.gallery import Search
from sdgen.owners import new_token, owner_of_token
from sdgen.studio import Studio
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS

SMALL = {"prompt": "a red robot", "seed": 7, "steps": 2, "width": 64, "height": 64}


@pytest.fixture
def url(studio: Studio, settings: Settings) -> Iterator[str]:
    with served(studio, settings.model_copy(update={"mcp": True})) as address:
        yield address


def tools(url: str) -> dict[str, Tool]:
    """The tools by name."""

    async def ask() -> list[Tool]:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            return (await session.list_tools()).tools

    return {tool.name: tool for tool in asyncio.run(ask())}


def use(url: str, tool: str, headers: dict[str, str] | None = None, **given: Any) -> CallToolResult:
    """What a tool answers, asked from an address that is no proxy's."""

    async def ask() -> CallToolResult:
        way = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
        async with (
            httpx.AsyncClient(transport=way, headers=headers, timeout=60) as http,
            streamable_http_client(f"{url}gradio_api/mcp/", http_client=http) as (
                reading,
                writing,
                _,
            ),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            return await session.call_tool(tool, given)

    return asyncio.run(ask())


def text(answer: CallToolResult) -> str:
    (part,) = answer.content
    assert isinstance(part, TextContent)
    return part.text


def value(answer: CallToolResult) -> Any:
    assert not answer.isError, text(answer)
    return ast.literal_eval(text(answer))  # Gradio writes Python


def test_the_public_endpoints_are_the_tools(url: str) -> None:
    found = tools(url)
    assert set(found) == {
        "generate", "submit", "job", "cancel", "enhance", "models", "adapters",
        "inspect_adapter", "verify",
    }  # fmt: skip
    steps = found["generate"].inputSchema["properties"]["steps"]
    assert steps["description"].startswith("Denoising steps")
    assert found["generate"].inputSchema["required"] == ["prompt"]


def test_a_picture_is_drawn_and_verified_by_its_address(url: str) -> None:
    (picture,) = value(use(url, "generate", **SMALL))
    assert picture["seed"] == 7
    found = value(use(url, "verify", picture=picture["image"]["url"]))
    assert found["answer"] == "identical"
    elsewhere = use(url, "verify", picture=f"{url}sdgen/live.js")
    assert elsewhere.isError
    assert text(elsewhere) == "Picture must be an uploaded file."


def test_a_refusal_is_a_sentence(url: str) -> None:
    refused = use(url, "generate", **SMALL | {"steps": 9999})
    assert refused.isError
    assert text(refused) == "Steps must be at most 150."


def test_a_token_leads_to_a_gallery(url: str, studio: Studio) -> None:
    token = new_token()
    value(use(url, "generate", {"X-Sdgen-Token": token}, **SMALL))
    value(use(url, "generate", **SMALL))
    (row,) = studio.gallery.search(owner_of_token(token), Search()).rows
    assert row.prompt == "a red robot"


def test_a_caller_cannot_choose_whom_limits_count_for(studio: Studio, settings: Settings) -> None:
    public = settings.model_copy(update={"mcp": True, "yes_public": True})
    payers = set()
    with served(studio, public) as url:
        for address in ("", "9.9.9.9", "8.8.8.8, 127.0.0.1"):
            headers = {"X-Forwarded-For": address} if address else None
            (job,) = value(use(url, "submit", headers, **SMALL))
            row = studio.history.job(job["id"])
            assert row is not None
            payers.add(row.payer)
    assert len(payers) == 1
