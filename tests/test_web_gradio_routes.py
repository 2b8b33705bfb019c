"""Gradio's routes: every one that the running app has is open or closed by a decision of ours."""

import gc
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.routing import BaseRoute, Mount

from sdgen.config import Settings
from sdgen.studio import Studio
from sdgen.web.gradio_routes import CLOSED, OPEN, OPEN_TO_TOOLS, OURS
from tests.conftest import FakeEngine, FakeModelFiles
from tests.raw_http import ask
from tests.serving import GRADIO_WARNINGS, free_port

pytestmark = GRADIO_WARNINGS


@dataclass(frozen=True)
class Page:
    """An app that is being served, and the routes that it really has."""

    url: str
    routes: tuple[tuple[str, str], ...]  # (method, path as starlette writes it)


def every_route(routes: list[BaseRoute], before: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of each route, also of those inside others."""
    for route in routes:
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        path = before + getattr(route, "path", "")
        if isinstance(route, Mount):
            yield "GET", path
            yield from every_route(list(route.routes), path)
        elif inner is not None:
            yield from every_route(list(inner.routes), before)
        else:
            for method in getattr(route, "methods", None) or {"GET"}:
                yield method, path


def page_of(data_dir: Path, **given: Any) -> Iterator[Page]:
    from sdgen.ui.app import build, launch_options

    settings = Settings(data_dir=data_dir, **given)
    studio = Studio(settings, FakeEngine(), FakeModelFiles())
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", cache)
        demo = build(studio, settings)
        demo.launch(**launch_options(studio, settings) | {"server_port": free_port()})
        try:
            yield Page(demo.local_url, tuple(every_route(demo.app.routes)))
        finally:
            demo.close(verbose=False)
            studio.close()
            del demo
            gc.collect()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    yield from page_of(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=[{"auth": SecretStr("ann:secret")}, {"mcp": True}])
def other_page(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Page]:
    if "mcp" in request.param:
        pytest.importorskip("mcp")
    yield from page_of(tmp_path_factory.mktemp("data"), **request.param)


def unclassified(page: Page) -> list[str]:
    """The routes that nobody has decided on."""
    opened = {
        (method, route.template)
        for route in (*OPEN, *OPEN_TO_TOOLS)
        for method in route.methods.split()
    }
    return [
        f"{method} {path}"
        for method, path in page.routes
        if not path.startswith((*OURS, "/gradio_api/mcp"))
        and (method, path) not in opened
        and path not in CLOSED
    ]


def test_every_route_of_gradio_s_is_open_or_closed_by_decision(page: Page) -> None:
    assert len(page.routes) > 80
    assert unclassified(page) == []


def test_also_with_a_login_and_with_tools(other_page: Page) -> None:
    assert unclassified(other_page) == []


def test_a_route_that_nobody_knows_would_be_found(page: Page) -> None:
    fresh = Page(page.url, (*page.routes, ("GET", "/gradio_api/fresh"), ("PUT", "/config")))
    assert unclassified(fresh) == ["GET /gradio_api/fresh", "PUT /config"]


def test_the_lists_name_nothing_that_is_not_there(page: Page) -> None:
    there = {path for _, path in page.routes}
    assert {route.template for route in OPEN} <= there
    assert set(CLOSED) <= there
    assert not {route.template for route in OPEN} & set(CLOSED)


def filled(path: str) -> str:
    return re.sub(r"{\w+(:\w+)?}", "1", path)


def test_what_is_closed_does_not_answer(page: Page) -> None:
    for method, path in page.routes:
        if path in CLOSED:
            answer = ask(page.url, filled(path), method)
            means_a_file = path.startswith("/gradio_api/file/")
            assert answer.status == (403 if means_a_file else 404), (method, path)
            assert method == "HEAD" or b"detail" in answer.body


def test_what_is_open_answers(page: Page) -> None:
    for route in OPEN:
        if "{" in route.template or route.template == "/logout":
            continue
        for method in route.methods.split():
            answer = ask(page.url, route.template, method)
            assert answer.status != 404, (method, route.template)


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/fresh-route",
        "/gradio_api/proxy=https://x.hf.space/y",
        "/gradio_api/deep_link?session_hash=1",
        "/GRADIO_API/info",
        "//gradio_api/info",
        "/gradio_api//info",
        "/gradio_api/./info",
        "/gradio_api/info/x",
        "/gradio_api/call/generate/1/2",
        "/x/config",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/sdgenx/picture/1",
        "/gradio_api/mcp/",
    ],
)
def test_what_is_on_no_list_does_not_answer(page: Page, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "OPTIONS"):
        assert ask(page.url, path, method).status == 404, method


def test_a_method_that_is_not_on_the_list_is_not_tried(page: Page) -> None:
    for method in ("PUT", "DELETE", "PATCH"):
        assert ask(page.url, "/config", method).status == 404
        assert ask(page.url, "/gradio_api/upload", method).status == 404


def test_the_root_path_of_a_proxy_changes_nothing(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ROOT_PATH", "/draw")
        served = page_of(tmp_path)
        page = next(served)
        try:
            for before in ("", "/draw"):
                assert ask(page.url, f"{before}/config").status == 200
                assert ask(page.url, f"{before}/gradio_api/token").status == 404
                assert ask(page.url, f"{before}/gradio_api/file=/etc/passwd").status == 403
                assert ask(page.url, f"{before}/gradio_api/file=http://x.example").status == 403
            assert ask(page.url, "/draw/draw/config").status == 404
        finally:
            served.close()
