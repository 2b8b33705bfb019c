"""Calls of MCP tools count for whoever makes them.

Gradio's MCP server calls the app's own endpoints over HTTP from this machine and hands its caller's
headers on. uvicorn believes this machine what X-Forwarded-For says; so that has to be the truth, or
a caller could name any address, and limits by address would hold nobody.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from sdgen.web.paths import route_path

PATH = "/gradio_api/mcp"
_HEADER = b"x-forwarded-for"


class ToolCalls:
    """The middleware: the address from which a call of a tool came stands in its header."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and route_path(scope).startswith(PATH):
            headers = [pair for pair in scope["headers"] if pair[0] != _HEADER]
            if scope.get("client"):
                headers.append((_HEADER, scope["client"][0].encode()))
            scope = {**scope, "headers": headers}
        await self.app(scope, receive, send)
