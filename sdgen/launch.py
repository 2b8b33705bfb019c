"""Start and stop: options -> settings -> engine -> studio -> page -> server -> a clean end.

Gradio is imported late, after its environment is set; torch later still, in the engine's own
thread once the page is being served.
"""

import argparse
import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sdgen.config import Settings, read_settings
from sdgen.enhance import operators_service
from sdgen.errors import (
    ModelUnavailable,
    SdgenError,
    SettingError,
    ShuttingDown,
    StorageFailed,
)
from sdgen.logs import adopt_server, set_up

if TYPE_CHECKING:
    from sdgen.engine import LocalEngine
    from sdgen.studio import Studio


GRACE = 4.0  # seconds for the running step to end and for pictures on their way to disk
DEADLINE = 7.0  # seconds from a signal to the end, whatever hangs
PAGE_FIRST = 1.0  # seconds that the page has to itself before torch is imported beside it
# Further tabs of the page as (title, module with add_tab). The modules know sdgen; it knows no more
# of them than this, and where one is not installed there is no such tab.
TABS = (("Train", "lora.tab"),)
LOOK = 0.5  # seconds between two looks for a signal
REFUSED = 2  # exit code: these options cannot be used
FAILED = 1  # exit code: the server could not start
ENVIRONMENT: Mapping[str, str] = {
    # Gradio sums up all its past events after each event; this makes it a rare thing on few.
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",
    "GRADIO_ANALYTICS_MAX_EVENTS": "200",
    "GRADIO_ANALYTICS_ENABLED": "False",  # nothing is told to anybody
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",  # no code out of model repositories, ever
    "TRANSFORMERS_VERBOSITY": "error",  # its hints on packages that are not needed here
}


def main(argv: Sequence[str]) -> int:
    """Run the app until it is told to stop; the exit code."""
    on_space = "SPACE_ID" in os.environ
    try:
        settings = read_settings(**vars(parser().parse_args(argv)))
        set_up(settings)
        settings.login()  # a wrong form is said before anything starts
        refuse_public(settings, on_space)
        refuse_mcp(settings)
        operators_service(settings.enhance_url, settings.enhance_model, settings.openai_api_key)
    except SettingError as error:
        say(str(error))
        return REFUSED
    try:
        with gradio_environment():
            return serve(settings, on_space)
    except StorageFailed as error:
        say(str(error))
        return FAILED


def parser() -> argparse.ArgumentParser:
    """The options. Each default is the setting's own, which SDGEN_ variables can change."""
    made = argparse.ArgumentParser(
        prog="app.py",
        description="A sentence becomes a picture: opens a page on this machine.",
        epilog="Each option can also be set by a variable, e.g. SDGEN_PORT=7861.",
        allow_abbrev=False,
    )
    made.add_argument("--host", help="where to listen (127.0.0.1: this machine only)")
    made.add_argument("--port", type=int, help="port of the page (7860)")
    made.add_argument(
        "--share", action="store_true", default=None, help="also open a public gradio.live link"
    )
    made.add_argument(
        "--model", help="a name of the table, a Hub id, a folder or a .safetensors file"
    )
    made.add_argument(
        "--enhance-url", help="a chat server that enhances prompts (http://localhost:11434/v1)"
    )
    made.add_argument("--enhance-model", help="its language model")
    made.add_argument("--data-dir", type=Path, help="where pictures are kept (~/sdgen)")
    made.add_argument("--auth", metavar="NAME:PASSWORD", help="ask visitors for this login")
    made.add_argument(
        "--yes-public",
        action="store_true",
        default=None,
        help="with --share or a public --host and no --auth: yes, anybody may use this machine",
    )
    made.add_argument(
        "--one-user",
        action="store_true",
        default=None,
        help="everybody who comes is the same person: one queue and one gallery",
    )
    made.add_argument(
        "--mcp", action="store_true", default=None, help="also serve the endpoints as MCP tools"
    )
    return made


def refuse_public(settings: Settings, on_space: bool) -> None:
    """Raises SettingError where the page would be open to all and nobody said that it may."""
    if on_space or not settings.is_public or settings.login() or settings.yes_public:
        return
    how = "--share" if settings.share else f"--host {settings.host}"
    raise SettingError(
        f"With {how} and no --auth, anybody who has the link can use this machine: its processor, "
        "its disk, its network. Add --auth name:password, or --yes-public if that is what you want."
    )


def refuse_mcp(settings: Settings) -> None:
    """Raises SettingError where Gradio would start with an MCP server that cannot work.

    Without its package there is none, and hardly a word of it; with a login its own calls of the
    page meet the login.
    """
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        raise SettingError("--mcp needs one more package: pip install 'gradio[mcp]'.")
    if settings.mcp and settings.login():
        raise SettingError("--mcp does not work together with --auth; leave one of them out.")


@contextlib.contextmanager
def gradio_environment() -> Iterator[None]:
    """Set what Gradio reads when it is imported, and give it a folder of its own for a while.

    Its usual folder is shared by all users of the machine and never emptied. It also asks its own
    page at start, which a proxy for the outside must not be in the way of. Raises StorageFailed
    where no place for temporary files has room.
    """
    from sdgen.scratch import own_folder

    os.environ.update(ENVIRONMENT)
    around = [os.environ.get("NO_PROXY", os.environ.get("no_proxy", "")), "localhost,127.0.0.1,::1"]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, around))
    with own_folder():
        yield


def serve(
    settings: Settings, on_space: bool, make_engine: Callable[..., "LocalEngine"] | None = None
) -> int:
    """Serve the page until a signal comes; the exit code.

    make_engine: what draws, where it is not LocalEngine; called as that is.
    """
    stop = threading.Event()

    def stopping(*_: object) -> None:
        """The first signal ends all in order, within DEADLINE; the second at once."""
        if stop.is_set():
            end(FAILED)
        stop.set()
        deadline = threading.Timer(DEADLINE, end, (0,))  # what matters is on disk by then
        deadline.daemon = True
        deadline.start()

    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, stopping)

    gc.disable()  # imports make many objects that stay; looking through them again takes 0.3 s
    from sdgen.engine import LocalEngine
    from sdgen.metrics import Metrics
    from sdgen.studio import Studio
    from sdgen.ui.app import build, launch_options

    metrics = Metrics()
    engine = (make_engine or LocalEngine)(settings, on_step=metrics.stepped)
    studio = Studio(settings, engine, public=on_space or settings.is_public, metrics=metrics)
    try:
        studio.open_queue(waits_for_room=True)
    except StorageFailed as error:
        say(str(error))
        return FAILED
    if (disk := studio.disk()).full:
        say(disk.sentence)
    opened: list[object] = []  # what the further tabs left to be closed
    demo = build(studio, settings, on_space, further_tabs(opened))
    try:
        _, local_url, share_url = demo.launch(**launch_options(studio, settings, on_space))
    except (OSError, ValueError) as error:  # Gradio: port in use; this machine not reachable
        say(f"The page cannot be opened on {settings.host}, port {settings.port}: {error}")
        studio.close(0.0)
        return FAILED
    finally:
        gc.freeze()
        gc.enable()
    adopt_server()
    say(f"sdgen is at {share_url or local_url}")
    stop.wait(PAGE_FIRST)
    if on_space:
        fetch_default(studio, stop)
    try:
        engine.preload(studio.default_spec().name)
    except ModelUnavailable as error:
        say(str(error))
    studio.prepare_enhancer()
    # A signal between two instructions of a wait without end would be noticed at that end only.
    while not stop.wait(LOOK):
        pass
    say("Stopping.")
    closing = [threading.Thread(target=tab.close, args=(GRACE,)) for tab in opened]  # type: ignore[attr-defined]  # only those that have it are kept
    for thread in closing:
        thread.start()
    studio.close(GRACE)
    for thread in closing:
        thread.join()
    demo.close(verbose=False)
    return 0


def further_tabs(
    opened: list[object], tabs: Sequence[tuple[str, str]] = TABS
) -> list[tuple[str, Callable[..., object]]]:
    """(title, what lays it out) of the tabs whose modules are here.

    opened: gets what their add_tab returned and what has to be closed at the end.
    """

    def layer_out(module: str) -> Callable[..., object]:
        add_tab = importlib.import_module(module).add_tab

        def lay_out(*given: object, **named: object) -> None:
            made = add_tab(*given, **named)
            if hasattr(made, "close"):
                opened.append(made)

        return lay_out

    return [(title, layer_out(module)) for title, module in tabs if is_installed(module)]


def is_installed(module: str) -> bool:
    """True where a module could be imported; nothing of it is."""
    package = module.partition(".")[0]
    return bool(importlib.util.find_spec(package) and importlib.util.find_spec(module))


def fetch_default(studio: "Studio", stop: threading.Event) -> None:
    """On a Space the operator chose model and hardware, so that model is fetched at start; its
    visitors cannot fetch anything."""
    card = studio.model(studio.default_model())
    if card.local:
        return

    def check(done: int, total: int) -> None:
        del done, total
        if stop.is_set():
            raise ShuttingDown

    say(f"Fetching {card.title}: about {card.download_bytes / 1e9:.1f} GB.")
    try:
        studio.download(card.name, check)
    except SdgenError as error:
        say(str(error))


def end(code: int) -> NoReturn:
    """Leave at once. What matters is on disk by now; a thread inside torch would hold us for long,
    as neither an import nor a kernel can be interrupted."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
