"""Calls that do not even reach an endpoint: a sentence and a 4xx, where Gradio would fail."""

from typing import Any

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdgen.errors import InvalidRequest
from sdgen.ui.api.checks import sentence
from sdgen.ui.gradio_parts import FnIndexInferError

NAMED_CALL = "/call/v2/"  # Gradio's route for arguments by name
# And those of pages, which name an event by its number.
PAGES_CALL, PAGES_DIRECT_CALL = "/queue/join", "/gradio_api/run/"


def in_words(app_kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of Gradio's app, with answers in words to calls that are none."""
    middleware = [*app_kwargs.get("middleware", ()), Middleware(FaultyCalls)]
    handlers = {
        **app_kwargs.get("exception_handlers", {}),
        RequestValidationError: _wrong_body,
        FnIndexInferError: _no_endpoint,
    }
    return {**app_kwargs, "middleware": middleware, "exception_handlers": handlers}


class FaultyCalls:
    """Tells a program which argument is missing or unknown, or that there is no such event."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except (TypeError, KeyError) as error:
            said = _said(scope.get("path", ""), error)
            if started or not said:
                raise
            await _answer(422, said)(scope, receive, send)
        except RuntimeError as error:
            # An answer that is not there (any more): Gradio says so in the stream, and breaks.
            if not (started and isinstance(error.__cause__, HTTPException)):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _said(path: str, error: TypeError | KeyError) -> str:
    """What a fault of these routes means; "" for faults that are ours."""
    if NAMED_CALL in path and isinstance(error, TypeError):  # of gradio_client's construct_args
        return f"{str(error).partition('. Please')[0]}."
    by_number = path.endswith(PAGES_CALL) or PAGES_DIRECT_CALL in path
    if by_number and isinstance(error, KeyError):
        return "fn_index: there is no such event."
    return ""


async def _wrong_body(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a body; nothing of it is sent back, as not all of it can be JSON."""
    first: dict[str, Any] = {}
    if isinstance(error, RequestValidationError) and error.errors():
        first = dict(error.errors()[0])
    place = ".".join(map(str, first.get("loc", ("body",))))
    return _answer(422, f"{place}: {first.get('msg', 'it cannot be read')}.")


async def _no_endpoint(_: Request, error: Exception) -> JSONResponse:
    return _answer(404, "There is no endpoint of that name.")


def _answer(status: int, text: str) -> JSONResponse:
    return JSONResponse({"detail": sentence(InvalidRequest("body", text))}, status)
