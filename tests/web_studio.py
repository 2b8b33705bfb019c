"""What sdgen.web needs of a studio: a real gallery, and the rest as a test sets it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from sdgen.config import Settings
from sdgen.gallery import Gallery
from sdgen.history import History, PictureRow
from sdgen.job import GeneratedImage
from sdgen.metadata import encode_png, recipe_for
from sdgen.metrics import Metrics
from sdgen.pictures import pictures_folder
from sdgen.web import app_kwargs
from tests.conftest import FAKE_INFO, ask, fake_picture

PAGE = "<!doctype html><title>the page</title>"


@dataclass
class WebStudio:
    """A studio of which only the gallery is real."""

    gallery: Gallery
    loaded: tuple[str, ...] = ("picturebook",)
    works: bool = True
    last_run_ok: bool | None = None
    free_bytes: int | None = 5_000_000_000
    full: bool = False
    metrics: Metrics = field(default_factory=Metrics)

    def status(self) -> Any:
        return SimpleNamespace(loaded=self.loaded)

    def alive(self) -> bool:
        return self.works

    def disk(self) -> Any:
        return SimpleNamespace(free_bytes=self.free_bytes, full=self.full)


@contextmanager
def web_studio(data_dir: Path) -> Iterator[WebStudio]:
    """A studio over a data folder; its history is closed at the end."""
    history = History(data_dir)
    try:
        yield WebStudio(Gallery(data_dir, history))
    finally:
        history.close()


def add_picture(
    data_dir: Path, gallery: Gallery, owner: str, number: int, **more: Any
) -> PictureRow:
    """A real picture of an owner, and its row. number: tells its id, its seed and its pixels."""
    request = ask(seed=number)
    image = GeneratedImage(0, number, fake_picture(request, number), FAKE_INFO)
    picture_id = f"{number:026d}"
    path = pictures_folder(data_dir) / owner / "2026-11-21" / f"{picture_id}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image.image, recipe_for(request, image)))
    row = PictureRow(
        id=picture_id,
        owner=owner,
        path=path.relative_to(pictures_folder(data_dir)).as_posix(),
        seed=number,
        prompt=request.prompt,
        model=request.model,
        width=64,
        height=64,
        created=time.time(),
        **more,
    )
    gallery.record(row)
    return row


def client_of(
    studio: WebStudio, settings: Settings, on_space: bool = False, **more: Any
) -> TestClient:
    """A browser without cookies in front of the routes and a page that is not Gradio's.

    more: TestClient's, e.g. base_url.
    """

    def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    kwargs = app_kwargs(studio, settings, on_space)  # type: ignore[arg-type]
    kwargs["routes"] = [*kwargs["routes"], Route("/", page, methods=["GET", "HEAD", "POST"])]
    app = FastAPI(**kwargs)
    return TestClient(app, follow_redirects=False, **{"base_url": "http://127.0.0.1:7860", **more})
