"""Anything that JSON can hold, in every field of the endpoints, over real HTTP.

Never a 5xx, never a traceback in the log, never an engine call for a refused request; the answer
is a sentence that names the field.
"""

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from gradio.utils import get_upload_folder
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sdgen.config import Settings
from sdgen.studio import Studio
from tests.bad_calls import ALL, CHEAP, FIELDS, NEVER, Endpoints, arguments
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS

# By what words a sentence names a field, where its own name is not among them.
NAMES = {
    "prompt": ("prompt", "tag '<lora", "lora"),
    "negative_prompt": ("negative",),
    "adapters": ("adapter", "lora"),
    "num_images": ("number of images",),
    "width": ("width",),
    "height": ("height",),
    "grid_y": ("grid axis",),  # also that there is no x
    "adapter": ("adapter", "lora"),
    "triggers": ("trigger",),
}


@dataclass(frozen=True)
class Api:
    """A page that is being served, and what it draws with."""

    endpoints: Endpoints
    engine: FakeEngine
    studio: Studio


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    own = Settings(data_dir=tmp_path_factory.mktemp("data"))
    engine = FakeEngine()
    studio = Studio(own, engine, FakeModelFiles())
    with served(studio, own) as url:
        yield Api(Endpoints(urlsplit(url).netloc), engine, studio)
    studio.close()


def test_the_parameters_are_those_that_are_tried(api: Api) -> None:
    taken = {
        endpoint: {p["parameter_name"] for p in parameters}
        for endpoint, parameters in api.endpoints.parameters.items()
    }
    assert taken["submit"] == set(FIELDS["generate"]) | set(FIELDS["submit"])
    for endpoint, names in taken.items():
        assert endpoint == "submit" or set(FIELDS.get(endpoint, ())) == names


def check(api: Api, caught: Any, endpoint: str, name: str, value: Any) -> str:
    """Send one value in one field. The sentence of the refusal, or "" where it was taken."""
    before = len(api.engine.submitted)
    kind, told = api.endpoints.call(endpoint, **arguments(endpoint, name, value))
    noise = caught()
    assert "Traceback" not in noise, noise
    if kind == "complete":
        while api.studio.queue_counts != (0, 0):  # or its drawing would count for the next one
            time.sleep(0.002)
        return ""
    assert kind == "error"
    text = told["error"]
    assert isinstance(text, str), told
    assert len(text) < 1000
    assert text[-1] in ".!?", text
    assert "\ud800" not in text
    assert any(word in text.lower() for word in NAMES.get(name, (name.split("_")[0],))), text
    assert len(api.engine.submitted) == before
    return text


@pytest.fixture
def caught(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    """What was said on the terminal and in the log since the last time."""
    caplog.set_level(logging.WARNING)

    def since() -> str:
        log = "\n".join(filter(None, (record.exc_text for record in caplog.records)))
        caplog.clear()
        return capfd.readouterr().err + log

    return since


# --- what can be nothing, in no field


@pytest.mark.parametrize(("endpoint", "name"), ALL)
def test_what_can_be_nothing_is_refused_in_every_field(
    api: Api, caught: Any, endpoint: str, name: str
) -> None:
    for value in NEVER:
        assert check(api, caught, endpoint, name, value), f"{value!r:.80} was taken"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("prompt", [None, True, 0, 1.5, [], "", " \n\t ", "<lora:x:999>", "<lora:x:nan>", "<lora:",
                    "<lora:../../x:1>"]),
        ("negative_prompt", [True, 0, [], "<lora:x:1>", "x" * 10_001]),
        ("model", [True, 0, [], "../../etc/passwd", "no-such", "<script>alert(1)</script>"]),
        ("seed", [True, -2, 1.0, -0.0, 2**64, 10**400, "7", []]),
        ("steps", [True, 0, -1, 151, 1e308, 4.0, -0.0, "4", [4]]),
        ("guidance_scale", [True, -0.1, 30.1, 1e308, "3", [3]]),
        ("width", [True, 63, 65, 2056, 1e308, 64.0, "64"]),
        ("height", [True, 63, 65, 2056, 1e308, 64.0, "64"]),
        ("num_images", [True, 0, -1, 17, 1e308, 1.0, "1"]),
        ("sampler", [True, 0, "heun", "EULER", "", "\u202eeuler"]),
        ("exact", [0, 1, "true", []]),
        ("enhance", [True, False, None, 0, "", "OFF", "\u202eauto", [], ["auto"]]),
        ("adapters", [True, 0, "x", ["x"], [["x"]], [{"name": "x", "scale": True}],
                      [{"name": "x", "scale": float("nan")}], [{"name": "../x"}],
                      [{"name": "x" * 10**6}], [{"name": "x", "y" * 10**6: 1}],
                      [{"name": "x\ud800"}], [{"scale": 1.0}], [{"name": "x"}] * 1000]),
        ("leave_out_prompt", [0, 1, "yes", []]),
    ],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(
    api: Api, caught: Any, name: str, values: list[Any]
) -> None:
    for value in values:
        assert check(api, caught, "generate", name, value), f"{value!r:.80} was taken"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("several", [None, 0, 1, "true", []]),
        ("grid_x", [True, 0, [], "steps", "steps=", "steps=nan", "steps=1-999999999", "=", "size=1",
                    "steps=1e308", "prompt=\ud800,x", "prompt=y,z", "adapter:../x=1",
                    "steps=" * 9999, "seed=" + "9" * 5000, "sampler=heun"]),
        ("grid_y", [True, [], "steps=1", "steps="]),
    ],
)  # fmt: skip
def test_what_submit_alone_takes_is_refused_as_well(
    api: Api, caught: Any, name: str, values: list[Any]
) -> None:
    for value in values:
        assert check(api, caught, "submit", name, value), f"{value!r:.80} was taken"


@pytest.mark.parametrize(
    "prompt",
    ["\u202eevil\u202c", "<b>bold</b>", "../../x", "{{7*7}}", "%s %n {0}", "'; DROP TABLE jobs;--",
     "\x1b[2J", "\ufeffx", "👩‍👩‍👧", "x" * 2000],
)  # fmt: skip
def test_odd_words_are_words(api: Api, caught: Any, prompt: str) -> None:
    assert check(api, caught, "generate", "prompt", prompt) == ""
    assert api.engine.submitted[-1].prompt == prompt


@pytest.mark.parametrize(
    ("endpoint", "name"), [("verify", "picture"), ("inspect_adapter", "adapter")]
)
def test_a_file_that_can_be_none_is_refused(
    api: Api, caught: Any, endpoint: str, name: str
) -> None:
    here = get_upload_folder()
    paths = ["", "\x00", "x\ud800", "x" * 10**6, here, f"{here}/../x", f"{here}/{'x' * 5000}",
             f"{here}/{'x/' * 5000}", f"{here}/\ud800", f"{here}/\x00"]  # fmt: skip
    site = "http://127.0.0.1:7860/gradio_api/file="
    addresses = [f"{site}{path}" for path in paths]
    for path in [*paths, *addresses, "http://", "http://[", f"{site}%00", f"{site}%ff", site[:-1]]:
        sent = {"path": path, "meta": {"_type": "gradio.FileData"}}
        assert check(api, caught, endpoint, name, sent), f"{path!r:.80} was taken"


# --- bodies that are no call


@pytest.mark.parametrize(
    "route", ["call/generate", "call/v2/generate", "queue/join", "call/nope", "run/nope"]
)
def test_a_body_that_is_no_call_is_a_4xx(api: Api, caught: Any, route: str) -> None:
    bodies = [
        b"", b"nope", b"\xff\xfe", b"[]", b"{}", b"[" * 100_000, b'{"data":null}', b'{"data":NaN}',
        b'{"data":"\\ud800"}', b'{"data":["x"],"session_hash":NaN}', b'{"nope":1}',
        b'{"prompt":"x","\\ud800":Infinity}', b'{"data":["x"],"session_hash":"a","fn_index":-1}',
        b'{"data":[' + b"9" * 5000 + b"]}", b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ]  # fmt: skip
    for body in bodies:
        if route == "call/generate" and b"fn_index" in body:
            continue  # of pages; a call by name does without
        status, told = api.endpoints.send("POST", route, body)
        assert 400 <= status < 500, (body[:60], status)
        json.loads(told)
        assert "Traceback" not in caught()


def test_missing_and_surplus_arguments_are_no_defect(api: Api, caught: Any) -> None:
    for data in ([], [None], ["x"] * 100):
        _, body = api.endpoints.send("POST", "call/generate", json.dumps({"data": data}))
        event_id = json.loads(body)["event_id"]
        assert b"event: error" in api.endpoints.send("GET", f"call/generate/{event_id}")[1]
        assert "Traceback" not in caught()


# --- whatever Hypothesis thinks of


TEXTS = st.one_of(
    st.text(st.characters(categories=None), max_size=40),  # halves of surrogate pairs too
    st.sampled_from(
        ["\u202e", "\x00", "<lora:x:999>", "../", "{a|b}", "steps=1,2", "auto", "euler"]
    ),
)
NUMBERS = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.sampled_from([-0.0, 1e308, 2**32 - 1, 10**30])
)
JSON = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(["name", "scale", "path", "meta"]), TEXTS), inner,
                        max_size=4),
    ),
    max_leaves=8,
)  # fmt: skip
FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=25, suppress_health_check=FIXTURES)
@given(st.sampled_from(ALL), JSON)
@example(("generate", "adapters"), [{"name": "x", "text_scale": float("inf")}])
def test_any_json_in_any_field(api: Api, caught: Any, place: tuple[str, str], value: Any) -> None:
    check(api, caught, *place, value)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=FIXTURES)
@given(st.sampled_from(ALL), JSON)
def test_any_json_in_any_field_many_times(
    api: Api, caught: Any, place: tuple[str, str], value: Any
) -> None:
    check(api, caught, *place, value)


@pytest.mark.slow
@settings(max_examples=200, suppress_health_check=FIXTURES)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS["generate"], JSON)))
def test_any_json_in_many_fields_at_once(api: Api, caught: Any, given_: dict[str, Any]) -> None:
    before = len(api.engine.submitted)
    kind, told = api.endpoints.call("generate", **{**CHEAP, **given_})
    assert "Traceback" not in caught()
    if kind == "error":
        assert isinstance(told["error"], str)
        assert len(api.engine.submitted) == before
