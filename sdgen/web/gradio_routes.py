"""Which of Gradio's routes answer: those of this list. All others, also of later versions, do not.

Gradio brings routes that no page and no client of this app uses: a proxy, a recorder, an editor of
code, links that keep what was typed. A route that nobody has looked at is closed (404) until
somebody enters it here; a test holds both lists against the routes that the running app has.
"""

from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from sdgen.web.paths import route_path

OURS = ("/sdgen/", "/healthz", "/readyz", "/metrics")  # sdgen's own routes begin so, or are that


@dataclass(frozen=True)
class Opened:
    """One route of Gradio's that answers."""

    methods: str
    template: str  # as starlette writes it
    used_by: str


OPEN = (
    Opened("GET HEAD POST", "/", "the page; a form that is sent to it is told that it cannot be"),
    Opened("GET", "/config", "clients, first of all"),
    Opened("GET", "/config/", "the same"),
    Opened("GET", "/svelte/{path:path}", "the page's scripts"),
    Opened("GET", "/assets/{path:path}", "the page's scripts and styles"),
    Opened("GET", "/static/{path:path}", "the page's pictures and fonts"),
    Opened("GET", "/theme.css", "the page's colours"),
    Opened("GET", "/gradio_api/theme.css", "the same, for clients"),
    Opened("GET", "/favicon.ico", "browsers"),
    Opened("GET", "/manifest.json", "browsers"),
    Opened("GET", "/robots.txt", "search engines"),
    Opened("POST", "/login", "the form of the login, and clients"),
    Opened("POST", "/login/", "the same"),
    Opened("GET POST", "/logout", "ends a login; wall.py takes the POST"),
    Opened("GET", "/gradio_api/startup-events", "Gradio itself, at start"),
    Opened("GET", "/gradio_api/info", "clients: which endpoints there are"),
    Opened("GET", "/gradio_api/info/", "the same"),
    Opened("GET", "/gradio_api/openapi.json", "programs: the same in OpenAPI's words"),
    Opened("POST", "/gradio_api/run/{api_name}", "events of the page that need no queue"),
    Opened("POST", "/gradio_api/call/{api_name}", "programs: begin a call"),
    Opened("GET", "/gradio_api/call/{api_name}/{event_id}", "programs: its answer"),
    Opened("POST", "/gradio_api/call/v2/{api_name}", "programs: a call with names"),
    Opened("GET", "/gradio_api/call/v2/{api_name}/{event_id}", "programs: its answer"),
    Opened("POST", "/gradio_api/queue/join", "the page and clients: begin an event"),
    Opened("GET", "/gradio_api/queue/data", "the page and clients: answers as they come"),
    Opened("POST", "/gradio_api/cancel", "the page and clients"),
    Opened("POST", "/gradio_api/upload", "the page and clients"),
    Opened("GET", "/gradio_api/upload_progress", "the page"),
    Opened("GET HEAD", "/gradio_api/file={path_or_url:path}", "files, by gradio_files.py"),
)
# What an app with --mcp has besides; the server inside tells methods apart.
OPEN_TO_TOOLS = (
    Opened("GET POST DELETE HEAD", "/gradio_api/mcp", "MCP clients"),
    Opened("GET POST DELETE HEAD", "/gradio_api/mcp/{path:path}", "MCP clients"),
)
# Looked at, and not used here. At run time nothing is compared with this list: it is for whoever
# asks why a route does not answer, and for the test.
CLOSED = {
    "/openapi.json": "FastAPI's own list, of Gradio's insides",
    "/gradio_api/user": "who is logged in: the page is told",
    "/gradio_api/user/": "the same",
    "/gradio_api/login_check": "nobody asks",
    "/gradio_api/login_check/": "the same",
    "/gradio_api/token": "tells a script the login's cookie, which scripts shall not have",
    "/gradio_api/token/": "the same",
    "/gradio_api/app_id": "for reloading while an app is written",
    "/gradio_api/app_id/": "the same",
    "/gradio_api/dev/reload": "for reloading while an app is written",
    "/gradio_api/runs": "run history, which is off",
    "/gradio_api/runs/": "the same",
    "/gradio_api/deep_link": "writes what was typed to a file that has an address",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}": "there are none",
    "/gradio_api/proxy={url_path:path}": "fetches from other servers",
    "/gradio_api/file/{path:path}": "an older spelling of file=",
    "/gradio_api/stream/{event_id}": "for sound and video",
    "/gradio_api/stream/{event_id}/close": "the same",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8": "the same",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}": "the same",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file": "the same",
    "/gradio_api/reset": "does nothing",
    "/gradio_api/reset/": "the same",
    "/gradio_api/heartbeat/{session_hash}": "pages here hold no such connection",
    "/gradio_api/run/{api_name}/": "another spelling that nobody uses",
    "/gradio_api/api/{api_name}": "an older spelling of run",
    "/gradio_api/api/{api_name}/": "the same",
    "/gradio_api/call/{api_name}/": "another spelling that nobody uses",
    "/gradio_api/call/v2/{api_name}/": "the same",
    "/gradio_api/component_server": "calls functions of components by their name",
    "/gradio_api/component_server/": "the same",
    "/gradio_api/queue/status": "how long Gradio's queue is; ours is another",
    "/gradio_api/process_recording": "works on uploaded videos",
    "/gradio_api/vibe-edit": "writes code",
    "/gradio_api/vibe-edit/": "the same",
    "/gradio_api/undo-vibe-edit": "the same",
    "/gradio_api/undo-vibe-edit/": "the same",
    "/gradio_api/vibe-code": "the same",
    "/gradio_api/vibe-code/": "the same",
    "/gradio_api/vibe-starter-queries": "the same",
    "/gradio_api/vibe-starter-queries/": "the same",
    "/pwa_icon": "there is no icon of the app's own",
    "/pwa_icon/{size}": "the same",
    "/monitoring": "is off",
    "/monitoring/summary": "the same",
    "/monitoring/{key}": "the same",
}


class GradioRoutes:
    """The middleware before Gradio: what is not open is not there."""

    def __init__(self, app: ASGIApp, *, mcp: bool) -> None:
        """mcp: the app has tools."""
        self.app = app
        self._open = [
            (opened.methods.split(), compile_path(opened.template)[0])
            for opened in (*OPEN, *(OPEN_TO_TOOLS if mcp else ()))
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http" or self._is_open(scope["method"], route_path(scope) or "/"):
            await self.app(scope, receive, send)
        else:
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)

    def _is_open(self, method: str, path: str) -> bool:
        if path.startswith(OURS):
            return True  # the router knows which of these there are
        return any(method in methods and route.match(path) for methods, route in self._open)
