"""The endpoints over HTTP, as programs use them: gradio_client, and what strangers may not do."""

import json
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from sdgen.config import Settings
from sdgen.errors import OutOfMemory
from sdgen.models import ASSETS
from sdgen.owners import owner_of_token
from sdgen.studio import Studio
from tests.bad_calls import Endpoints
from tests.conftest import FakeEngine, Fault, ask, fake_picture
from tests.picture_loras import fill, write_lora
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS


@pytest.fixture
def url(studio: Studio, settings: Settings) -> Iterator[str]:
    with served(studio, settings) as address:
        yield address


@pytest.fixture
def client(url: str, tmp_path: Path) -> Iterator[Any]:
    made = Client(
        url, verbose=False, download_files=tmp_path / "downloads", analytics_enabled=False
    )
    yield made
    made.close()


def test_generate_returns_png_files_seeds_and_recipes(client: Any, studio: Studio) -> None:
    pictures = client.predict(
        prompt="a red robot", seed=7, steps=3, width=64, height=64, num_images=2,
        api_name="/generate",
    )  # fmt: skip
    assert [picture["seed"] for picture in pictures] == [7, 8]
    for picture in pictures:
        with Image.open(picture["image"]) as image:
            assert image.format == "PNG"
            expected = fake_picture(ask("a red robot"), picture["seed"])
            assert image.tobytes() == expected.tobytes()
        assert studio.recipe_of(Path(picture["image"])).seed == picture["seed"]
        assert picture["recipe"].startswith("a red robot\nSteps: 3, Sampler: DPM++ 2M")


def test_only_a_prompt_is_needed(client: Any, engine: FakeEngine, studio: Studio) -> None:
    assert len(client.predict(prompt="a cat", api_name="/generate")) == 1
    card = studio.model(studio.default_model())
    assert engine.submitted[0].steps == card.steps


def test_models_are_listed(client: Any, studio: Studio) -> None:
    listed = client.predict(api_name="/models")
    assert [model["name"] for model in listed] == [card.name for card in studio.models()]


def test_generate_takes_adapters_and_answers_which_they_were(
    client: Any, engine: FakeEngine, settings: Settings
) -> None:
    fill(settings.data_dir)
    (picture,) = client.predict(
        prompt="a storm hero <lora:watercolour:0.5>", steps=2, width=64, height=64,
        adapters=[{"name": "storm-hero", "scale": 0.8}], api_name="/generate",
    )  # fmt: skip
    assert [use.scale for use in engine.submitted[0].adapters] == [0.8, 0.5]
    assert [(a["name"], a["scale"]) for a in picture["adapters"]] == [
        ("storm-hero", 0.8),
        ("watercolour", 0.5),
    ]
    assert len(picture["adapters"][0]["sha256"]) == 64
    assert picture["recipe"].startswith(
        "a storm hero <lora:storm-hero:0.8> <lora:watercolour:0.5>\n"
    )


def test_adapters_are_listed_with_their_verdict(client: Any, settings: Settings) -> None:
    fill(settings.data_dir)
    listed = {a["name"]: a for a in client.predict(api_name="/adapters")}
    assert listed["storm-hero"]["level"] == "fits"
    assert listed["storm-hero"]["triggers"] == ["storm hero", "red cape"]
    assert listed["half"]["level"] == "warns"
    assert listed["half"]["share"] == pytest.approx(0.5)
    assert listed["big"]["verdict"].startswith("This is an SDXL LoRA")
    assert str(settings.data_dir) not in json.dumps(listed)
    for_sd15 = client.predict(model="sd15", api_name="/adapters")
    assert [a["local"] for a in for_sd15 if a["name"] == "minnal-murali"] == [False]


def test_an_adapter_is_examined_by_name_or_as_a_file(
    client: Any, settings: Settings, tmp_path: Path
) -> None:
    fill(settings.data_dir)
    named = client.predict("storm-hero", api_name="/inspect_adapter")
    assert (named["layout"], named["ranks"], named["parts"]["text_encoder"]) == ("peft", [4], 2)
    file = write_lora(tmp_path / "mine.safetensors", title="Mine", trigger="mycat", seed=4)
    judged = client.predict(handle_file(file), api_name="/inspect_adapter")
    assert (judged["title"], judged["triggers"], judged["level"]) == ("Mine", ["mycat"], "fits")
    assert len(list((settings.data_dir / "adapters").glob("*.safetensors"))) == 4  # kept nothing


def test_a_picture_is_verified(client: Any) -> None:
    size = {"width": 64, "height": 64, "steps": 2}
    (picture,) = client.predict(prompt="a red robot", **size, api_name="/generate")
    found = client.predict(handle_file(picture["image"]), api_name="/verify")
    assert (found["answer"], found["largest"], found["altered"]) == ("identical", 0, False)


def test_a_picture_is_verified_by_its_address_here_and_by_none_elsewhere(url: str) -> None:
    endpoints = Endpoints(urlsplit(url).netloc)
    _, ((picture,),) = endpoints.call(
        "generate", prompt="a red robot", width=64, height=64, steps=2
    )
    address = picture["image"]["url"]
    assert address.startswith(f"{url}gradio_api/file=")
    for path in (address, picture["image"]["path"]):
        sent = {"path": path, "meta": {"_type": "gradio.FileData"}}
        kind, found = endpoints.call("verify", picture=sent)
        assert (kind, found[0]["answer"]) == ("complete", "identical")
    elsewhere = {"path": f"{url}sdgen/live.js", "meta": {"_type": "gradio.FileData"}}
    kind, told = endpoints.call("verify", picture=elsewhere)
    assert (kind, told["error"]) == ("error", "Picture must be an uploaded file.")


def test_no_path_of_the_machine_is_read_for_a_program(
    url: str, settings: Settings, tmp_path: Path
) -> None:
    secret = write_lora(tmp_path / "secret.safetensors", title="Secret")
    inside = settings.data_dir / "adapters" / "x.safetensors"
    write_lora(inside, title="Secret")
    meta = {"_type": "gradio.FileData"}
    for path in (secret, inside, Path("/etc/passwd"), tmp_path):
        for sent in ({"path": str(path)}, {"path": str(path), "meta": meta}, str(path), [1], None):
            said = told(url, "inspect_adapter", [sent, None])
            assert "event: error" in said, sent
            assert "Secret" not in said
            assert "Traceback" not in said


def test_wrong_adapters_are_said_to_the_program(
    client: Any, engine: FakeEngine, settings: Settings
) -> None:
    fill(settings.data_dir)
    wrong: list[tuple[dict[str, Any], str]] = [
        (
            {"adapters": [{"name": "storm-hero", "scale": 11}]},
            "Adapter strength must be at most 10",
        ),
        ({"adapters": [{"name": "strom-hero"}]}, "Did you mean storm-hero"),
        ({"adapters": "storm-hero"}, "Adapters must be a list"),
        ({"adapters": [{"name": "big"}]}, "This is an SDXL LoRA; the model is Picturebook"),
        ({"prompt": "x <lora:nobody:1>"}, "There is no LoRA 'nobody'"),
    ]
    for given, sentence in wrong:
        with pytest.raises(Exception, match=sentence):
            client.predict(**{"prompt": "x", **given}, api_name="/generate")
    assert engine.submitted == []


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"prompt": " "}, "Prompt is empty; describe the picture you want."),
        ({"prompt": "x", "steps": 999}, "Steps must be at most 150."),
        ({"prompt": "x", "seed": 1.5}, "Seed must be a whole number."),
        ({"prompt": "x", "model": "sd15"}, "Nothing is downloaded before you say so."),
        ({"prompt": "x", "model": 7}, "Model must be text."),
        ({"prompt": "x" * 10_001}, "Prompt is too long"),
    ],
)
def test_errors_reach_the_program_as_our_sentences(
    client: Any, engine: FakeEngine, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Exception, match=sentence.replace(".", r"\.")) as refused:
        client.predict(api_name="/generate", **given)
    assert "Traceback" not in str(refused.value)
    assert engine.submitted == []


def test_a_failure_is_told_with_its_reason(client: Any, engine: FakeEngine) -> None:
    engine.faults = deque([Fault(OutOfMemory("There was not enough memory."))])
    with pytest.raises(Exception, match="There was not enough memory"):
        client.predict(prompt="x", api_name="/generate")


def test_a_cancelled_call_stops_the_drawing(client: Any, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    job = client.submit(prompt="x", steps=150, api_name="/generate")
    wait_until(lambda: engine.steps_taken > 2)
    job.cancel()
    wait_until(lambda: engine.status().running == 0)
    assert engine.steps_taken < 150


def test_a_program_that_goes_away_stops_the_drawing(url: str, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    with urllib.request.urlopen(url + "gradio_api/info", timeout=20) as answer:
        parameters = json.load(answer)["named_endpoints"]["/generate"]["parameters"]
    given = {"prompt": "x", "steps": 150}
    data = [given.get(p["parameter_name"], p["parameter_default"]) for p in parameters]
    event = post(url + "gradio_api/call/generate", {"data": data})["event_id"]
    stream = urllib.request.urlopen(f"{url}gradio_api/call/generate/{event}", timeout=20)
    wait_until(lambda: engine.steps_taken > 2)
    stream.close()
    wait_until(lambda: engine.status().running == 0)
    assert engine.steps_taken < 150


def test_a_prompt_can_be_left_out_of_the_files(client: Any, studio: Studio) -> None:
    (picture,) = client.predict(prompt="secret", leave_out_prompt=True, api_name="/generate")
    assert b"secret" not in Path(picture["image"]).read_bytes()
    assert studio.recipe_of(Path(picture["image"])).prompt_left_out
    assert picture["prompt"] == ""


# --- leaving and coming back


SMALL = {"steps": 3, "width": 64, "height": 64}
TOKEN = "t" * 32


def until_ended(client: Any, job_id: str) -> dict[str, Any]:
    told: dict[str, Any] = {}

    def ended() -> bool:
        told.update(client.predict(job_id, api_name="/job"))
        return told["state"] not in ("waiting", "running")

    wait_until(ended)
    return told


def test_a_program_submits_leaves_and_comes_back(url: str, client: Any, tmp_path: Path) -> None:
    (told,) = client.predict(prompt="a cat", seed=7, num_images=2, **SMALL, api_name="/submit")
    assert told["state"] in ("waiting", "running", "done")
    client.close()
    again = Client(url, verbose=False, download_files=tmp_path / "b", analytics_enabled=False)
    ended = until_ended(again, told["id"])
    again.close()
    assert (ended["state"], ended["error"], ended["prompt"]) == ("done", "", "a cat")
    assert [picture["seed"] for picture in ended["pictures"]] == [7, 8]
    with Image.open(ended["pictures"][1]["image"]) as image:
        assert image.tobytes() == fake_picture(ask("a cat"), 8).tobytes()
    assert told["created"] <= ended["started"] <= ended["ended"]


def test_a_job_tells_how_far_it_is_and_can_be_cancelled(client: Any, engine: FakeEngine) -> None:
    engine.seconds_per_step = 0.05
    long = {**SMALL, "steps": 150}
    jobs = [client.predict(prompt="x", **long, api_name="/submit")[0]["id"] for _ in range(2)]
    wait_until(lambda: engine.steps_taken > 2)
    first, second = (client.predict(job_id, api_name="/job") for job_id in jobs)
    assert (first["state"], first["steps"]) == ("running", 150)
    assert 0 < first["step"] < 150
    assert first["seconds_left"] > 0
    assert (second["step"], second["pictures"]) == (0, [])
    for job_id in reversed(jobs):
        assert client.predict(job_id, api_name="/cancel")["state"] == "stopped"
    assert client.predict(jobs[0], api_name="/cancel")["state"] == "stopped"  # once more
    assert engine.status().running == 0
    assert engine.steps_taken < 150


def test_a_failed_job_tells_why(client: Any, engine: FakeEngine) -> None:
    engine.faults = deque([Fault(OutOfMemory("There was not enough memory."))])
    (told,) = client.predict(prompt="x", **SMALL, api_name="/submit")
    ended = until_ended(client, told["id"])
    assert (ended["state"], ended["error"]) == ("failed", "There was not enough memory.")


def test_several_prompts_are_several_jobs(client: Any, engine: FakeEngine) -> None:
    asked = "a {red|blue} robot\na cat"
    told = client.predict(prompt=asked, several=True, **SMALL, api_name="/submit")
    assert [job["prompt"] for job in told] == ["a red robot", "a blue robot", "a cat"]
    for job in told:
        assert until_ended(client, job["id"])["state"] == "done"
    (one,) = client.predict(prompt=asked, **SMALL, api_name="/submit")
    assert until_ended(client, one["id"])["prompt"] == asked
    assert len(engine.submitted) == 4


def test_a_grid_is_one_job_whose_result_is_a_sheet(client: Any, engine: FakeEngine) -> None:
    grid = {"grid_x": "steps=1-3", "grid_y": "prompt=robot,cat"}
    (told,) = client.predict(prompt="a robot", **grid, **SMALL, api_name="/submit")
    ended = until_ended(client, told["id"])
    assert ended["state"] == "done"
    (sheet,) = ended["pictures"]
    with Image.open(sheet["image"]) as image:
        assert image.width > 3 * 64
        assert image.height > 2 * 64
    assert len(engine.submitted) == 6


REFUSED_BY_SUBMIT: list[tuple[dict[str, Any], str]] = [
    ({"several": 1}, "Several must be true or false."),
    ({"several": True, "enhance": "builtin"}, "with several it must be off"),
    ({"several": True, "prompt": "{a|b}" * 30}, "asks for .* requests; at most"),
    ({"several": True, "prompt": "\n"}, "Prompt is empty"),
    ({"grid_x": "size=1"}, "Grid axis x: what changes must be one of seed"),
    ({"grid_x": 4}, "Grid axis x: it must be text like steps=4,8,12."),
    ({"grid_y": "steps=4"}, "Grid axis x: it must be text"),
    ({"grid_x": "steps=1,999"}, "Grid axis x: '999' cannot be. Steps must be at most 150"),
    ({"grid_x": "steps=1-9", "grid_y": "seed=1-9"}, "81 cells; at most 64"),
    ({"grid_x": "seed=1", "num_images": 2}, "Number of images must be 1 in a grid"),
]


def test_what_submit_refuses(client: Any, engine: FakeEngine) -> None:
    for given, sentence in REFUSED_BY_SUBMIT:
        with pytest.raises(Exception, match=sentence):
            client.predict(**{"prompt": "x", **SMALL, **given}, api_name="/submit")
    assert engine.submitted == []


def test_one_programs_jobs_are_no_others(url: str, engine: FakeEngine, tmp_path: Path) -> None:
    engine.seconds_per_step = 0.5  # a minute: nobody cancels what is done

    def program(**headers: str) -> Any:
        return Client(
            url, verbose=False, download_files=tmp_path, analytics_enabled=False, headers=headers
        )

    owner, other, nobody = (
        program(**{"X-Sdgen-Token": TOKEN}),
        program(**{"X-Sdgen-Token": "o" * 32}),
        program(),
    )
    (mine,) = owner.predict(prompt="x", **{**SMALL, "steps": 150}, api_name="/submit")
    (anyones,) = nobody.predict(prompt="x", **{**SMALL, "steps": 150}, api_name="/submit")
    for stranger in (other, nobody):
        for endpoint in ("/job", "/cancel"):
            for job_id in (mine["id"], "0" * 32, "", "../x", 7, None, ["x"]):
                with pytest.raises(Exception, match="no job of yours with that job_id"):
                    stranger.predict(job_id, api_name=endpoint)
    assert owner.predict(mine["id"], api_name="/job")["state"] in ("waiting", "running")
    assert other.predict(anyones["id"], api_name="/job")["prompt"] == "x"  # who knows the id
    for client, job in ((owner, mine), (nobody, anyones)):
        assert client.predict(job["id"], api_name="/cancel")["state"] == "stopped"
        client.close()
    other.close()


def test_pictures_of_a_token_are_in_its_gallery(url: str, studio: Studio, tmp_path: Path) -> None:
    client = Client(
        url, verbose=False, download_files=tmp_path, analytics_enabled=False,
        headers={"X-Sdgen-Token": TOKEN},
    )  # fmt: skip
    (drawn,) = client.predict(prompt="x", **SMALL, api_name="/generate")
    client.close()
    found = studio.gallery.find(drawn["id"], owner_of_token(TOKEN))
    assert found is not None
    assert found.seed == drawn["seed"]


def test_the_queue_cannot_be_gone_round(url: str, engine: FakeEngine) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(url + "gradio_api/run/generate", {"data": ["x"]})
    refused.value.close()
    assert refused.value.code == 404
    assert engine.submitted == []


def test_files_that_are_not_pictures_of_the_page_are_not_served(
    url: str, settings: Settings, client: Any
) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    secret = settings.data_dir / "secret.txt"
    secret.write_text("secret")
    client.predict(prompt="x", api_name="/generate")
    (drawn,) = (settings.data_dir / "pictures").rglob("*.png")
    for path in (secret, drawn, Path("/etc/passwd"), Path(__file__)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}gradio_api/file={path}", timeout=20)
        refused.value.close()
        assert refused.value.code in (403, 404)


def test_a_space_withholds_flagged_pictures(
    studio: Studio, settings: Settings, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.flagged = "It may not be safe for work."
    with served(studio, settings, on_space=True) as address:
        client = Client(address, verbose=False, download_files=tmp_path, analytics_enabled=False)
        (picture,) = client.predict(prompt="x", api_name="/generate")
        client.close()
    assert picture["image"] is None
    assert picture["flagged"] == engine.flagged


@pytest.mark.slow
@pytest.mark.skipif(not (ASSETS / "picturebook").is_dir(), reason="the bundled model is not here")
def test_the_bundled_model_draws_over_http(settings: Settings, tmp_path: Path) -> None:
    from sdgen.engine import LocalEngine

    studio = Studio(settings, LocalEngine(settings))
    try:
        with served(studio, settings) as address:
            client = Client(
                address, verbose=False, download_files=tmp_path, analytics_enabled=False
            )
            given = {"prompt": "a red robot on a beach at sunset", "seed": 7, "exact": True}
            first, second = (client.predict(api_name="/generate", **given)[0] for _ in range(2))
            client.close()
        with Image.open(first["image"]) as one, Image.open(second["image"]) as two:
            assert one.size == (256, 256)
            assert one.tobytes() == two.tobytes()
            assert len(one.getcolors(65536) or range(65536)) > 50
    finally:
        studio.close()


def post(url: str, body: dict[str, Any]) -> Any:
    """The JSON answer to a JSON body."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def told(url: str, endpoint: str, data: list[Any]) -> str:
    """All that the server says to a call over plain HTTP, whose data no client has looked at."""
    event = post(f"{url}gradio_api/call/{endpoint}", {"data": data})["event_id"]
    with urllib.request.urlopen(f"{url}gradio_api/call/{endpoint}/{event}", timeout=20) as answer:
        return str(answer.read().decode())


def wait_until(true: Any, seconds: float = 60.0) -> None:
    """Wait for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
