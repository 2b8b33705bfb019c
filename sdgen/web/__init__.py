"""What the web needs beside Gradio: who asks, files, the login's wall, the operator's view.

    demo.launch(app_kwargs=app_kwargs(studio, settings, on_space, folder), ...)

Starlette only. Requests pass other_sites and bodies, then wall or personal, then the two gates,
then routes or Gradio:

    visitors.py      who asks: login, token, cookie; whom limits count for
    paths.py         how the router reads a path
    other_sites.py   pages of other sites do nothing in a visitor's name, and frame nothing
    bodies.py        how large a body may be, and how long it may take
    connections.py   how many connections there may be, and how long one may say nothing
    tool_calls.py    calls of MCP tools count for whoever makes them
    personal.py      the cookie, and taking over a personal link
    wall.py          with a login: 401 for all but a short list
    uploads.py       a total for uploads, of each and of all
    gradio_files.py  file=: the app's own temporary files, as nothing but files
    gradio_routes.py which of Gradio's routes answer at all
    files.py         pictures, thumbnails, zips, each to its owner; tickets.py for zips
    health.py        /healthz, /readyz, /metrics
    small_pages.py   what login form and question look like
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.routing import Route

from sdgen.config import Settings
from sdgen.web.bodies import BODY_BYTES_MAX, Bodies, UploadLimits
from sdgen.web.files import Files
from sdgen.web.gradio_files import GradioFiles
from sdgen.web.gradio_routes import GradioRoutes
from sdgen.web.health import Health
from sdgen.web.other_sites import SPACE_FRAMES, OtherSites
from sdgen.web.personal import Personal, PersonalToken
from sdgen.web.tool_calls import ToolCalls
from sdgen.web.uploads import Ledger, Uploads
from sdgen.web.visitors import personal_link, visitor_of
from sdgen.web.wall import Wall, user_of

if TYPE_CHECKING:
    from sdgen.studio import Studio

__all__ = ["app_kwargs", "personal_link", "visitor_of"]
FILES_AT_ONCE = 100  # where nobody says how many files the process may have open


def app_kwargs(
    studio: "Studio",
    settings: Settings,
    on_space: bool,
    folder: Path | None = None,
    uploads: UploadLimits | None = None,
) -> dict[str, Any]:
    """Middlewares and routes, as Blocks.launch(app_kwargs=...) takes them.

    on_space: strangers come, through Hugging Face's proxies and frames; flagged pictures stay back.
    folder: where Gradio keeps uploads and answers; None: none of them is handed over.
    uploads: what one may hold, and all of them; None: as large as any other request.
    """
    others_come = on_space or settings.is_public
    login = settings.login() is not None
    middleware = [
        Middleware(
            OtherSites,
            may_call=others_come,
            any_name=others_come or login,
            frames=SPACE_FRAMES if on_space else (),
        ),
        Middleware(Bodies, uploads=uploads or UploadLimits(BODY_BYTES_MAX, FILES_AT_ONCE)),
    ]
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
    middleware += [
        Middleware(GradioFiles, folder=folder),
        Middleware(GradioRoutes, mcp=settings.mcp),
    ]
    strangers = on_space or (settings.is_public and not login)
    ledger = Ledger.of(settings, strangers=strangers)
    middleware.append(Middleware(Uploads, ledger=ledger, payer=_payer_for(settings, on_space)))
    return {"middleware": middleware, "routes": routes}


def _payer_for(settings: Settings, on_space: bool) -> Callable[[HTTPConnection], str]:
    """Whom what a request brings counts for."""

    def payer(connection: HTTPConnection) -> str:
        return visitor_of(connection, user_of(connection), settings, on_space).payer

    return payer
