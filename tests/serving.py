"""A real server over a studio with fakes, on a free port, for tests of page and endpoints."""

import gc
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sdgen.config import Settings
from sdgen.studio import Studio


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Warnings are errors in our tests, and these are Gradio's: event loops that each gr.Blocks leaves
# behind, with the pair of Unix sockets that each of them has.
GRADIO_WARNINGS = [
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
    pytest.mark.filterwarnings(
        r"ignore:unclosed <socket\.socket fd=\d+, family=1,:ResourceWarning"
    ),
]


@contextmanager
def served(
    studio: Studio,
    settings: Settings,
    on_space: bool = False,
    tabs: Any = (),
    port: int | None = None,
) -> Iterator[str]:
    """The page's address while it is being served. tabs: further ones, as build() takes them.

    port: by default a free one.
    """
    from sdgen.ui.app import build, launch_options

    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", cache)
        demo = build(studio, settings, on_space, tabs)
        options = launch_options(studio, settings, on_space) | {
            "server_name": "127.0.0.1",
            "server_port": port or free_port(),
        }
        _, url, _ = demo.launch(**options)
        try:
            yield url
        finally:
            demo.close(verbose=False)
            del demo
            gc.collect()  # here, where the warnings above are let through
