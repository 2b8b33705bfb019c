"""The operator's view: alive, ready, figures; told to those who may know, and without secrets."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from sdgen.config import Settings
from sdgen.web.health import FAILING_SECONDS, Health
from tests.web_studio import WebStudio, client_of, web_studio

LOOPBACK = {"client": ("127.0.0.1", 50000)}
TOKEN = "a-token-of-the-operator"


@pytest.fixture
def studio(settings: Settings) -> Iterator[WebStudio]:
    with web_studio(settings.data_dir) as made:
        yield made


def test_alive_while_the_queue_is(studio: WebStudio, settings: Settings) -> None:
    client = client_of(studio, settings)
    assert client.get("/healthz").status_code == 200
    studio.works = False
    assert client.get("/healthz").status_code == 503
    assert client.get("/readyz").status_code == 503


def test_ready_when_the_next_visitor_would_get_a_picture(
    studio: WebStudio, settings: Settings
) -> None:
    answer = client_of(studio, settings).get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "model": "picturebook",
        "last_run": None,
        "disk_free_mb": 5000,
    }
    assert answer.headers["cache-control"] == "no-store"


def test_a_disk_that_does_not_tell_its_room_keeps_nobody_out(
    studio: WebStudio, settings: Settings
) -> None:
    studio.free_bytes = None
    answer = client_of(studio, settings).get("/readyz")
    assert (answer.status_code, answer.json()["disk_free_mb"]) == (200, None)


@pytest.mark.parametrize(
    ("what", "value"), [("loaded", ()), ("last_run_ok", False), ("full", True), ("works", False)]
)
def test_not_ready_otherwise(
    studio: WebStudio, settings: Settings, what: str, value: object
) -> None:
    setattr(studio, what, value)
    answer = client_of(studio, settings).get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False


def test_a_failed_run_does_not_keep_everybody_out_for_good(
    studio: WebStudio, settings: Settings
) -> None:
    now = [0.0]
    health = Health(studio, settings, False, clock=lambda: now[0])  # type: ignore[arg-type]

    def code() -> int:
        return health._readyz().status_code

    studio.last_run_ok = False
    assert code() == 503
    now[0] = FAILING_SECONDS - 1
    assert code() == 503
    now[0] = FAILING_SECONDS
    assert code() == 200  # the next visitor may try
    studio.last_run_ok = True
    assert code() == 200
    studio.last_run_ok = False
    assert code() == 503


def metrics_client(
    studio: WebStudio,
    settings: Settings,
    client: str = "127.0.0.1",
    on_space: bool = False,
    **changed: Any,
) -> TestClient:
    settings = settings.model_copy(update=changed)
    return client_of(studio, settings, on_space, client=(client, 50000))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "127.3.2.1"])
def test_figures_are_open_to_this_machine(
    studio: WebStudio, settings: Settings, address: str
) -> None:
    studio.metrics.saved()
    answer = metrics_client(studio, settings, address).get("/metrics")
    assert answer.status_code == 200
    assert "sdgen_images_total 1.0" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"X-Real-IP": "127.0.0.1"},
        {"X-Forwarded-Host": "pictures.example"},
    ],
)
def test_what_a_proxy_hands_over_is_not_from_this_machine(
    studio: WebStudio, settings: Settings, headers: dict[str, str]
) -> None:
    assert metrics_client(studio, settings).get("/metrics", headers=headers).status_code == 404


@pytest.mark.parametrize("address", ["203.0.113.7", "10.0.0.3", "testclient", "::"])
def test_others_see_no_figures(studio: WebStudio, settings: Settings, address: str) -> None:
    assert metrics_client(studio, settings, address).get("/metrics").status_code == 404


def test_a_tunnel_and_a_space_are_not_this_machine(studio: WebStudio, settings: Settings) -> None:
    assert metrics_client(studio, settings, share=True).get("/metrics").status_code == 404
    assert metrics_client(studio, settings, on_space=True).get("/metrics").status_code == 404


def test_a_token_opens_them_from_anywhere(studio: WebStudio, settings: Settings) -> None:
    client = metrics_client(
        studio, settings, "203.0.113.7", on_space=True, metrics_token=SecretStr(TOKEN)
    )
    right = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert right.status_code == 200
    for wrong in (
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        "Bearer ",
        "",
        f"Basic {TOKEN}",
    ):
        answer = client.get("/metrics", headers={"Authorization": wrong})
        assert (answer.status_code, TOKEN in answer.text) == (401, False), wrong


def test_an_empty_token_opens_nothing(studio: WebStudio, settings: Settings) -> None:
    client = metrics_client(studio, settings, "203.0.113.7", metrics_token=SecretStr(""))
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code in (401, 404)


def test_nothing_of_users_or_of_the_machine_is_told(studio: WebStudio, settings: Settings) -> None:
    client = metrics_client(studio, settings)
    for where in ("/healthz", "/readyz", "/metrics"):
        assert str(settings.data_dir) not in client.get(where).text
        assert client.post(where).status_code == 405
