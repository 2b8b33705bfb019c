"""The wall around an app with a login: without one every path answers 401, but for a short list.

Gradio guards most of its own paths, and leaves /cancel, /reset, /stream, /heartbeat, /theme.css
and others open. Here the list is of those that are open, so a path that nobody thought of is not.
"""

import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sdgen.html import render
from sdgen.pictures import is_picture_name
from sdgen.web.other_sites import is_from_another_site
from sdgen.web.paths import route_path
from sdgen.web.small_pages import TEMPLATES, small_page
from sdgen.web.visitors import address_of

# What answers without a login, and why.
PUBLIC_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "/": "a form that asks for the login, and nothing else",
        "/login": "takes the login",
        "/logout": "ends it",
        "/healthz": "is it alive? for whoever watches over it",
        "/readyz": "can it draw? for whoever watches over it",
        "/metrics": "asks for a token of its own",
        "/robots.txt": "tells search engines to stay out, or not",
        "/gradio_api/startup-events": "Gradio asks itself at start; does nothing later",
    }
)
ATTEMPTS_MAX = 10  # wrong passwords of one address in ATTEMPTS_SECONDS
ATTEMPTS_SECONDS = 60.0


def user_of(connection: HTTPConnection) -> str | None:
    """The name of the login, as Gradio's own tokens say; None without one."""
    app = connection.scope.get("app")
    tokens, cookie_id = getattr(app, "tokens", None), getattr(app, "cookie_id", None)
    if not tokens or not cookie_id:
        return None
    for kind in ("access-token", "access-token-unsecure"):  # the first needs https
        name = tokens.get(connection.cookies.get(f"{kind}-{cookie_id}"))
        if isinstance(name, str):
            return name
    return None


class Attempts:
    """Counts wrong passwords by address. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._wrong: dict[str, int] = {}

    def forgive(self, address: str) -> None:
        """One fewer."""
        with self._lock:
            self._forget()
            self._wrong[address] = max(0, self._wrong.get(address, 0) - 1)

    def failed(self, address: str) -> None:
        """One more."""
        with self._lock:
            self._forget()
            self._wrong[address] = self._wrong.get(address, 0) + 1

    def too_many(self, address: str) -> bool:
        """True while that address has to wait."""
        with self._lock:
            self._forget()
            return self._wrong.get(address, 0) >= ATTEMPTS_MAX

    def _forget(self) -> None:
        now = self._clock()
        if now - self._since >= ATTEMPTS_SECONDS:
            self._since = now
            self._wrong.clear()


class Wall:
    """The middleware: whoever has no login gets no further than the list."""

    def __init__(self, app: ASGIApp, *, on_space: bool) -> None:
        """on_space: visitors' addresses are in a header, and pages may be in a frame."""
        self.app = app
        self.on_space = on_space
        self.attempts = Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path = route_path(scope) or "/"
        if path == "/login" and scope["type"] == "http":
            await self._login(scope, receive, send)
        elif path == "/logout" and scope["type"] == "http":
            await self._logout(scope, receive, send)
        elif user_of(HTTPConnection(scope)) is not None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif path == "/" and scope["method"] in ("GET", "HEAD"):
            await self._form(scope)(scope, receive, send)
        elif path != "/" and path in PUBLIC_PATHS:
            await self.app(scope, receive, send)
        else:
            await JSONResponse({"detail": "Not authenticated"}, 401)(scope, receive, send)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio checks name and password; a browser that sent our form gets a page back."""
        request = Request(scope)
        accepts = request.headers.get("accept", "")
        by_form = scope["method"] == "POST" and "text/html" in accepts
        address = address_of(request, self.on_space)
        if self.attempts.too_many(address):
            answer = self._form(scope, "Too many wrong passwords. Try again in a minute.", 429)
            await answer(scope, receive, send)
            return
        guesses = scope["method"] == "POST"
        if guesses:  # counted before it is looked at: a hundred that come at once are not all read
            self.attempts.failed(address)
        replaced = False

        async def answer_form(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                if guesses and message["status"] != 400:
                    self.attempts.forgive(address)
                if by_form:
                    replaced = True
                    await self._after(scope, message)(scope, receive, send)
                    return
            if not replaced:
                await send(message)

        await self.app(scope, receive, answer_form)

    async def _logout(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends the login for the app's own page and for programs; a browser that comes by another
        site's link or picture gets a question, as whoever made the link did not ask its owner."""
        request = Request(scope)
        if scope["method"] not in ("GET", "POST"):
            await JSONResponse({"detail": "Method Not Allowed"}, 405)(scope, receive, send)
        elif scope["method"] == "GET" and not _is_own_wish(request):
            await self._farewell()(scope, receive, send)
        elif scope["method"] == "POST" and is_from_another_site(
            "POST", request.headers, request.url.scheme
        ):
            refusal = PlainTextResponse("This has to come from the app's own page.", 403)
            await refusal(scope, receive, send)
        else:
            await self.app({**scope, "method": "GET"}, receive, send)

    def _farewell(self) -> Response:
        return small_page(
            "sdgen: log out",
            render(TEMPLATES, "pages.html", "logout"),
            on_space=self.on_space,
        )

    def _after(self, scope: Scope, message: Message) -> Response:
        """The page that follows Gradio's answer to our form."""
        if message["status"] != 200:
            return self._form(scope, "That is not the name or not the password.", 401)
        answer = RedirectResponse(f"./{_recipe(scope)}", 303, {"Cache-Control": "no-store"})
        for cookie in Headers(raw=message["headers"]).getlist("set-cookie"):
            answer.headers.append("Set-Cookie", cookie)
        return answer

    def _form(self, scope: Scope, problem: str = "", status: int = 200) -> Response:
        return small_page(
            "sdgen: log in",
            render(TEMPLATES, "pages.html", "login", problem=problem, query=_recipe(scope)),
            on_space=self.on_space,
            status=status,
            headers={"Retry-After": str(round(ATTEMPTS_SECONDS))} if status == 429 else None,
        )


def _is_own_wish(request: Request) -> bool:
    """True for a GET that the app's own page makes, an address that was typed, or a program.

    Browsers say so over https and to this machine alone; in a local network only the page that
    they come from may tell.
    """
    headers = request.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    if "mozilla" not in headers.get("user-agent", "").lower():  # every browser, and no program
        return True
    came_from = headers.get("referer")
    if came_from is None:
        return False
    told = {"host": headers.get("host", ""), "origin": came_from}
    told["x-forwarded-host"] = headers.get("x-forwarded-host", "")
    return not is_from_another_site("GET", told, request.url.scheme)


def _recipe(scope: Scope) -> str:
    """The part of the address that opens a picture's recipe, so that the login keeps it."""
    recipe = QueryParams(scope["query_string"]).get("recipe", "")
    return f"?recipe={recipe}" if is_picture_name(recipe) else ""
