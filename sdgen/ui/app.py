"""The whole page: header, tabs, endpoints, and settings of Gradio that must not be forgotten."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import HTTPConnection

from sdgen.config import Settings
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.ui.api import Blocks, add_endpoints, in_words
from sdgen.ui.enhance_row import EnhanceRow
from sdgen.ui.event_queue import Bounds, Payer, bound
from sdgen.ui.gallery_tab import GalleryTab
from sdgen.ui.generate_tab import GenerateTab
from sdgen.ui.gradio_parts import adopt, server_config, upload_folder
from sdgen.ui.live import Live, live_routes
from sdgen.ui.sessions import SESSIONS, Sessions
from sdgen.ui.theme import theme
from sdgen.web import app_kwargs, visitor_of
from sdgen.web.bodies import UploadLimits
from sdgen.web.connections import Room, descriptors, guard
from sdgen.web.wall import user_of

HERE = Path(__file__).parent
CACHE_CHECK, CACHE_AGE = 3600, 24 * 3600  # seconds; Gradio's copies of pictures live a day
# Uploads pass Gradio before our own limits see them: adapters may be large, strangers add none.
LARGEST_FILE_OF_STRANGERS = "32mb"
# One request may bring several, e.g. the photos of a training. Bytes.
LARGEST_UPLOAD, LARGEST_UPLOAD_OF_STRANGERS = 2**31, 33 * 2**20
STYLES = ("style", "enhance", "adapters", "gallery")
CALLS_PER_SECOND = 20.0  # that one payer begins, in the long run
THREADS = 128  # drafts, verifications and downloads hold one each; drawing holds none
HEADER = """
<header class="sd-header">
  <svg viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="8"/><circle cx="21" cy="13" r="5"/>
    <path d="M3 25Q10 13 18 21T30 20V24a6 6 0 0 1-6 6H8a6 6 0 0 1-5-5Z"/>
  </svg>
  <div><h1>sdgen</h1><p>A sentence becomes a picture</p></div>
  <button type="button" id="theme-toggle" class="sd-icon" aria-label="Light or dark">
    <svg viewBox="0 0 20 20" aria-hidden="true"><path d="M10 2a8 8 0 1 0 0 16Z"/></svg></button>
</header>
"""


# Lays out one more tab: called with studio, settings and strangers=bool, inside the tab.
AddTab = Callable[..., object]


class PageBlocks(Blocks):
    """As Blocks; but an open page holds no connection of Gradio's.

    A browser opens six to a server (HTTP/1.1), so each sixth tab would hang for good. Gradio's
    connection tells it when a page is closed, to forget its gr.State an hour later; ours are small.
    """

    def get_config_file(self) -> dict[str, Any]:
        """What the page is told of itself."""
        return {**super().get_config_file(), "connect_heartbeat": False}

    def launch(self, *given: Any, **options: Any) -> Any:
        """Serve it, with every connection watched."""
        launched = super().launch(*given, **options)
        guard(server_config(self), Room.of(descriptors()))
        return launched

    @property
    def state_holder(self) -> Sessions:
        """What is kept of each session."""
        return self._sessions

    @state_holder.setter
    def state_holder(self, made: Any) -> None:
        """Gradio's app makes one of its own and hands it over here before it serves anything."""
        self._sessions = adopt(made, Sessions)


def build(
    studio: Studio,
    settings: Settings,
    on_space: bool = False,
    tabs: Sequence[tuple[str, AddTab]] = (),
) -> gr.Blocks:
    """The page over a studio. on_space: it is open to strangers, so flagged pictures stay back.

    tabs: further ones, as (title, what lays it out).
    """
    strangers = open_to_strangers(settings, on_space)
    with PageBlocks(
        title="sdgen",
        fill_width=True,
        analytics_enabled=False,
        delete_cache=(CACHE_CHECK, CACHE_AGE),
    ) as demo:
        gr.HTML(HEADER, elem_id="header")

        enhance = EnhanceRow(studio, settings, on_space)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Generate", id="generate") as shown:
                tab = GenerateTab(
                    studio,
                    settings,
                    enhance,
                    withhold_flagged=on_space,
                    may_fetch=not strangers,
                )
            with gr.Tab("Gallery", id="gallery") as gallery_shown:
                gallery = GalleryTab(studio, settings, tab, withhold_flagged=on_space)
            for title, add_tab in tabs:
                with gr.Tab(title, id=title.lower()):
                    add_tab(studio, settings, strangers=strangers)
        tab.on_select(shown.select)
        gallery.on_select(gallery_shown.select)
        tab.on_load(demo)
        add_endpoints(
            studio,
            tab.served,
            withhold_flagged=on_space,
            may_add=not strangers,
            settings=settings,
        )
    # Our own queue bounds and orders the work; Gradio's only carries the events. Closed to calls
    # that would go round it.
    demo.queue(api_open=False, default_concurrency_limit=None)
    bound(demo, bounds_for(settings, on_space), payer_for(settings, on_space))
    return demo


def bounds_for(settings: Settings, on_space: bool) -> Bounds:
    """How many calls may be open. How fast they come matters where others than one's own come."""
    others_come = on_space or settings.is_public or settings.login() is not None
    return Bounds(per_second=CALLS_PER_SECOND if others_come else None)


def payer_for(settings: Settings, on_space: bool) -> Payer:
    """Whom a call counts for."""

    def payer(request: HTTPConnection, username: str | None) -> str:
        return visitor_of(request, username, settings, on_space).payer

    return payer


def open_to_strangers(settings: Settings, on_space: bool) -> bool:
    """True where anybody may come without a login."""
    return on_space or (settings.is_public and settings.login() is None)


def launch_options(studio: Studio, settings: Settings, on_space: bool = False) -> dict[str, Any]:
    """The arguments of Blocks.launch; each is a defect if forgotten."""
    strangers = open_to_strangers(settings, on_space)
    return {
        "server_name": "0.0.0.0" if on_space else settings.host,
        "server_port": settings.port,
        "share": settings.share and not on_space,
        "auth": settings.login(),
        "mcp_server": settings.mcp,
        "prevent_thread_lock": True,  # we wait ourselves, for signals
        "quiet": True,
        "inbrowser": False,
        "show_error": False,  # an exception's text may hold what no stranger should read
        "run_history": False,  # it would keep every prompt in the browser, and dead links
        "enable_monitoring": False,
        "max_file_size": LARGEST_FILE_OF_STRANGERS
        if strangers
        else f"{settings.max_adapter_mb + 1}mb",
        "ssr_mode": False,
        "strict_cors": True,
        "allowed_paths": [],  # pages have sdgen/web/files.py, programs Gradio's cache
        "max_threads": THREADS,
        "state_session_capacity": SESSIONS,
        "footer_links": ["api", "settings"],
        "theme": theme(),
        "css_paths": [HERE / f"{name}.css" for name in STYLES],
        "js": (HERE / "page.js").read_text(encoding="utf-8"),
        "app_kwargs": beside_gradio(studio, settings, on_space),
    }


def beside_gradio(studio: Studio, settings: Settings, on_space: bool) -> dict[str, Any]:
    """Middlewares and routes: who asks, files, health, and what is live on pages."""

    def visitor(connection: HTTPConnection) -> Visitor:
        return visitor_of(connection, user_of(connection), settings, on_space)

    strangers = open_to_strangers(settings, on_space)
    uploads = UploadLimits(
        LARGEST_UPLOAD_OF_STRANGERS if strangers else LARGEST_UPLOAD,
        files_at_once=Room.of(descriptors()).upload_files,
    )
    kwargs = app_kwargs(studio, settings, on_space, upload_folder(), uploads)
    live = Live(studio, withhold_flagged=on_space)
    return in_words(kwargs | {"routes": [*kwargs["routes"], *live_routes(live, visitor)]})
