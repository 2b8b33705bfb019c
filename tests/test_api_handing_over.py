"""Pictures on their way to programs: an error where they cannot be handed over, and none for good
once they are deleted for good. And whom paid drafts count for."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from sdgen.config import Settings
from sdgen.enhance import Enhancer, Service
from sdgen.enhance.limits import PER_HOUR
from sdgen.enhance.service import OPENAI_URL
from sdgen.gallery import Search
from sdgen.owners import owner_of_token
from sdgen.studio import Studio
from tests.bad_calls import CHEAP, Endpoints
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS
TOKEN = "t" * 32


@pytest.fixture
def asked() -> list[str]:
    """What the language model was asked."""
    return []


@pytest.fixture
def studio(
    settings: Settings, engine: FakeEngine, model_files: FakeModelFiles, asked: list[str]
) -> Iterator[Studio]:
    async def ask(service: Service, system: str, user: str, hear: Callable[[str], None]) -> str:
        asked.append(user)
        hear("a fox, in warm light")
        return "a fox, in warm light"

    service = Service(OPENAI_URL, "small", None)
    made = Studio(settings, engine, model_files, Enhancer(service, ask=ask))
    yield made
    made.close()


@pytest.fixture
def url(studio: Studio, settings: Settings) -> Iterator[str]:
    with served(studio, settings) as address:
        yield address


@pytest.fixture
def api(url: str) -> Endpoints:
    return Endpoints(urlsplit(url).netloc)


def test_a_picture_that_cannot_be_handed_over_is_an_error_and_not_lost(
    api: Endpoints, studio: Studio, engine: FakeEngine
) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    away = folder.with_name(f"{folder.name}-away")
    folder.rename(away)
    folder.touch()  # nothing can be written there now
    try:
        kind, told = api.call("generate", **{**CHEAP, "num_images": 2, "steps": 1})
        assert kind == "error"
        assert "made and saved, but it cannot be handed over now" in told["error"]
        (job_id,) = re.findall(r"job_id is (\w+)\.", told["error"])
        assert str(folder) not in told["error"]
        assert engine.steps_taken == 2, "the others are drawn all the same"
        kind, told = api.call("job", job_id=job_id)
        assert (kind, "cannot be handed over" in told["error"]) == ("error", True)
        assert len(studio.history.pictures_of_job(job_id)) == 2
    finally:
        folder.unlink()
        away.rename(folder)
    kind, ((job),) = api.call("job", job_id=job_id)
    assert (kind, job["state"], len(job["pictures"])) == ("complete", "done", 2)


def test_a_picture_deleted_for_good_answers_under_no_address(
    url: str, studio: Studio, tmp_path: Path
) -> None:
    with httpx.Client(base_url=url, headers={"X-Sdgen-Token": TOKEN}, timeout=60) as client:
        event = client.post("/gradio_api/call/generate", json={"data": ["a fox"]}).json()
        told = client.get(f"/gradio_api/call/generate/{event['event_id']}").text
        (picture,) = json.loads(told.rsplit("data: ", 1)[1])[0]
        handed = urlsplit(picture["image"]["url"]).path
        assert client.get(handed).status_code == 200
        png = client.get(handed).content
        sent = client.post("/gradio_api/upload", files={"files": ("mine.png", png)}).json()
        again = f"/gradio_api/file={sent[0]}"
        assert client.get(again).content == png
        owner = owner_of_token(TOKEN)
        studio.gallery.delete(owner, [picture["id"]])
        assert client.get(handed).status_code == 200, "it can still come back"
        assert studio.gallery.empty_bin(owner) == 1
        for address in (handed, again):
            assert client.get(address).status_code in (403, 404)
        assert studio.gallery.search(owner, Search(bin=True)).total == 0


def drafts(client: httpx.Client, number: int, **more: object) -> str:
    """The note of a draft. more: of the body, e.g. a session that the caller made up."""
    body = {"data": [f"fox {number}", None, "api"], **more}
    event = client.post("/gradio_api/call/enhance", json=body).json()
    told = client.get(f"/gradio_api/call/enhance/{event['event_id']}").text
    (draft,) = json.loads(told.rsplit("data: ", 1)[1])
    return str(draft["note"])


def test_paid_drafts_count_by_payer_and_not_by_what_a_caller_calls_himself(
    url: str, asked: list[str]
) -> None:
    with httpx.Client(base_url=url, headers={"X-Sdgen-Token": TOKEN}, timeout=60) as client:
        for number in range(PER_HOUR + 3):
            note = drafts(client, number, session_hash=f"made-up-{number}")
        assert "for the hour" in note
        assert len(asked) == PER_HOUR
    with httpx.Client(base_url=url, headers={"X-Sdgen-Token": "u" * 32}, timeout=60) as other:
        assert "for the hour" not in drafts(other, 1000)


def test_where_strangers_come_the_address_pays(
    settings: Settings, studio: Studio, asked: list[str]
) -> None:
    public = settings.model_copy(update={"yes_public": True})
    with served(studio, public) as url, httpx.Client(base_url=url, timeout=60) as client:
        for number in range(PER_HOUR + 3):
            client.headers["X-Sdgen-Token"] = f"{number:032d}"
            note = drafts(client, number, session_hash=f"made-up-{number}")
        assert "for the hour" in note
        assert len(asked) == PER_HOUR


def test_the_page_s_own_drafts_count_for_the_same_payer(url: str, asked: list[str]) -> None:
    with httpx.Client(base_url=url, headers={"X-Sdgen-Token": TOKEN}, timeout=60) as client:
        config = client.get("/config").json()
        (write,) = (
            number
            for number, event in enumerate(config["dependencies"])
            if event["api_name"] == "write"
        )
        model = "picturebook"
        for number in range(PER_HOUR + 1):
            session = f"page{number}"
            body = {
                "data": [f"fox {number}", model, "api", None, []],
                "fn_index": write,
                "session_hash": session,
            }
            client.post("/gradio_api/queue/join", json=body)
            told = client.get(f"/gradio_api/queue/data?session_hash={session}").text
        assert "for the hour" in told
        assert len(asked) == PER_HOUR
        assert "for the hour" in drafts(client, 999)
