"""What the web needs beside Gradio: who asks, files, the login's wall, the operator's view.

    demo.launch(app_kwargs=app_kwargs(studio, settings, on_space), ...)

Starlette only. Requests pass other_sites, then wall or personal, then routes or Gradio:

    visitors.py      who asks: login, token, cookie; whom limits count for
    other_sites.py   pages of other sites do nothing in a visitor's name
    tool_calls.py    calls of MCP tools count for whoever makes them
    personal.py      the cookie, and taking over a personal link
    wall.py          with a login: 401 for all but a short list
    uploads.py       a total for uploads, of each and of all
    files.py         pictures, thumbnails, zips, each to its owner; tickets.py for zips
    health.py        /healthz, /readyz, /metrics
    small_pages.py   what login form and question look like
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Route

from sdgen.config import Settings
from sdgen.web.files import Files
from sdgen.web.health import Health
from sdgen.web.other_sites import OtherSites
from sdgen.web.personal import Personal, PersonalToken
from sdgen.web.tool_calls import ToolCalls
from sdgen.web.uploads import Ledger, Uploads
from sdgen.web.visitors import personal_link, visitor_of
from sdgen.web.wall import Wall, user_of

if TYPE_CHECKING:
    from sdgen.studio import Studio

__all__ = ["app_kwargs", "personal_link", "visitor_of"]


def app_kwargs(studio: "Studio", settings: Settings, on_space: bool) -> dict[str, Any]:
    """Middlewares and routes, as Blocks.launch(app_kwargs=...) takes them.

    on_space: strangers come, through Hugging Face's proxies and frames; flagged pictures stay back.
    """
    others_come = on_space or settings.is_public
    login = settings.login() is not None
    middleware = [Middleware(OtherSites, may_call=others_come, any_name=others_come or login)]
    if settings.mcp and not on_space:  # a Space's proxies write that header, and are read apart
        middleware.append(Middleware(ToolCalls))
    routes: list[Route] = [
        *Files(studio, settings, on_space).routes(),
        *Health(studio, settings, on_space).routes(),
    ]
    if login:
        middleware.append(Middleware(Wall, on_space=on_space))
    elif not settings.one_user:
        personal = Personal(on_space)
        middleware.append(Middleware(PersonalToken, personal=personal))
        routes += personal.routes()
    strangers = on_space or (settings.is_public and not login)
    ledger = Ledger.of(settings, strangers=strangers)
    middleware.append(Middleware(Uploads, ledger=ledger, payer=_payer_for(settings, on_space)))
    return {"middleware": middleware, "routes": routes}


def _payer_for(settings: Settings, on_space: bool) -> Callable[[HTTPConnection], str]:
    """Whom what a request brings counts for."""

    def payer(connection: HTTPConnection) -> str:
        return visitor_of(connection, user_of(connection), settings, on_space).payer

    return payer
