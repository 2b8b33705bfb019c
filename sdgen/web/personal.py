"""A browser's personal token: given with the page, and taken over from a personal link if wanted.

GET / gives the cookie. GET /?me=TOKEN asks whether this browser should have the queue and the
pictures of that token, and POST /sdgen/me takes them: only after the click, as whoever made the
link could otherwise make a stranger's pictures land in his own gallery.
"""

from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders, QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdgen.html import render
from sdgen.owners import is_token, new_token
from sdgen.web.other_sites import is_from_another_site
from sdgen.web.paths import route_path
from sdgen.web.small_pages import TEMPLATES, small_page
from sdgen.web.visitors import cookie_header, cookie_token

FORM_BYTES_MAX = 1000


class Personal:
    """Cookie, question and answer."""

    def __init__(self, on_space: bool) -> None:
        """on_space: the page is inside a frame of another site."""
        self._on_space = on_space

    def routes(self) -> list[Route]:
        """The address of the form."""
        return [Route("/sdgen/me", self.take, methods=["POST"])]

    def cookie(self, request: Request, token: str) -> str:
        """The Set-Cookie for this request's browser."""
        return cookie_header(
            token,
            on_space=self._on_space,
            https=request.url.scheme == "https",
            root_path=request.scope.get("root_path", ""),
        )

    def question(self, offered: str, own: str) -> Response:
        """Whether to use the offered token. own: the browser's, which it would replace."""
        return small_page(
            "Use the queue and pictures of this link?",
            render(TEMPLATES, "pages.html", "personal_link", offered=offered, own=own),
            on_space=self._on_space,
        )

    async def take(self, request: Request) -> Response:
        """POST /sdgen/me: the click on Yes."""
        headers = request.headers
        told = "sec-fetch-site" in headers or "origin" in headers
        if not told or is_from_another_site("POST", headers, request.url.scheme):
            return PlainTextResponse("This has to come from the app's own page.", 403)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES_MAX:
                return PlainTextResponse("Too long.", 413)
        token = parse_qs(body.decode("ascii", "replace")).get("token", [""])[0]
        if not is_token(token):
            return PlainTextResponse("This link is not complete.", 400)
        answer = _back("../")
        answer.headers.append("Set-Cookie", self.cookie(request, token))
        return answer


class PersonalToken:
    """The middleware of GET /: gives the cookie, and asks about a personal link."""

    def __init__(self, app: ASGIApp, *, personal: Personal) -> None:
        self.app = app
        self.personal = personal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (
            scope["type"] != "http"
            or scope["method"] != "GET"
            or route_path(scope) not in ("/", "")
        ):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        own = cookie_token(request)
        offered = QueryParams(scope["query_string"]).get("me", "")
        if is_token(offered):
            answer = _back("./") if offered == own else self.personal.question(offered, own)
            await answer(scope, receive, send)
            return
        cookie = self.personal.cookie(request, own or new_token())

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = MutableHeaders(scope=message)
                headers.append("Set-Cookie", cookie)
                headers.setdefault("Cache-Control", "private, no-cache")
            await send(message)

        await self.app(scope, receive, with_cookie)


def _back(where: str) -> Response:
    """To the page, without the token in the address. Relative: a proxy may have put a path
    before ours."""
    return RedirectResponse(where, 303, {"Cache-Control": "no-store"})
