"""Drafts by services: the faults of F3, limits, cache, keys, and addresses that are not asked."""

import asyncio
import dataclasses
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from sdgen.enhance import Context, Draft, Enhancer, GivenUp, KeyRing, Service
from sdgen.enhance.keys import LIFETIME
from sdgen.enhance.limits import PER_HOUR
from sdgen.enhance.service import OPENAI_URL, is_public, operators_service, users_service
from sdgen.errors import InvalidRequest, SettingError
from tests.fault_server import PHRASES, FaultServer, fault_server, refused_url
from tests.queue_apps import wait_until

CANARY = "sk-CANARY-4711-abcdefgh"
CLIP = Context("sd15", 75, lambda text: len(text.split()))
SECONDS = 1.0  # of the deadline here; what holds for one holds for eight
FAULTS = [
    "refused", "dns", "401", "429", "500", "html", "null", "no choices", "empty", "trickle", "huge",
    "redirect", "think", "huge json", "silent", "thinking only", "broken off", "zipped",
]  # fmt: skip


@pytest.fixture
def enhancer() -> Iterator[Callable[..., Enhancer]]:
    made: list[Enhancer] = []

    def make(url: str = "", **given: Any) -> Enhancer:
        service = Service(url, "small", SecretStr(CANARY)) if url else None
        made.append(Enhancer(given.pop("service", service), seconds=SECONDS, **given))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("script", FAULTS)
def test_every_fault_ends_in_a_draft_in_time_and_without_the_key(
    script: str, enhancer: Callable[..., Enhancer], caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    with fault_server(script) as server:
        url = {"refused": refused_url(), "dns": "http://no-such-host.invalid/v1"}.get(script)
        asked = enhancer(url or server.url)
        asked.prepare()
        begun = time.monotonic()
        draft = asked.enhance("a red fox", CLIP)
        assert time.monotonic() - begun < SECONDS + 2.0  # the rest is for a busy machine
        if script == "redirect":
            assert len(server.requests) == 1
    assert draft.text.startswith("a red fox, ")
    if script == "think":
        assert (draft.engine, draft.note, draft.model) == ("api", "", "small")
        assert "dragon" not in draft.text
    else:
        assert draft.engine == "built-in"
        assert draft.note.endswith("The built-in helper wrote this draft.")
    out, err = capfd.readouterr()
    for text in (str(draft), repr(asked.__dict__), caplog.text, out, err):
        assert CANARY not in text


@pytest.mark.parametrize("script", ["good", "plain json", "picky"])
def test_good_answers_of_every_kind_of_server(
    script: str, enhancer: Callable[..., Enhancer]
) -> None:
    heard: list[str] = []
    with fault_server(script) as server:
        draft = enhancer(server.url).enhance("a red fox", CLIP, on_text=heard.append)
        line, headers, body = server.requests[-1]
    assert draft.text == f"a red fox, {PHRASES}"
    assert draft.added == tuple(PHRASES.split(", "))
    assert (draft.engine, draft.note) == ("api", "")
    assert heard[-1] == draft.text
    assert line.startswith("POST /v1/chat/completions")
    assert headers["authorization"] == f"Bearer {CANARY}"
    assert "a red fox" in body


def test_only_the_prompt_is_sent(enhancer: Callable[..., Enhancer]) -> None:
    context = dataclasses.replace(CLIP, triggers=("zxq",), seed=4711)
    with fault_server() as server:
        enhancer(server.url).enhance("a red fox", context, session="somebody")
        body = server.requests[0][2]
    assert "zxq" in body
    assert "4711" not in body
    assert "somebody" not in body


def test_the_same_prompt_is_asked_once_and_again_asks_anew(
    enhancer: Callable[..., Enhancer],
) -> None:
    with fault_server() as server:
        asked = enhancer(server.url)
        first, second = (asked.enhance("a red fox", CLIP) for _ in range(2))
        assert first == second
        assert len(server.requests) == 1
        asked.enhance("a red fox", dataclasses.replace(CLIP, again=1))
        assert len(server.requests) == 2


def test_a_broken_service_is_left_alone_and_tried_again(
    enhancer: Callable[..., Enhancer],
) -> None:
    now = 1000.0
    with fault_server("500") as server:
        asked = enhancer(server.url, clock=lambda: now)
        notes = [asked.enhance(f"fox {i}", CLIP).note for i in range(5)]
        assert len(server.requests) == 3
        assert "left alone" in notes[-1]
        now += 61
        server.script = "good"
        assert asked.enhance("fox", CLIP).engine == "api"


def test_a_service_that_asks_to_wait_is_left_alone_as_long(
    enhancer: Callable[..., Enhancer],
) -> None:
    now = 1000.0
    with fault_server("429") as server:
        asked = enhancer(server.url, clock=lambda: now)
        for _ in range(3):
            asked.enhance("fox", CLIP)
            now += 30
        assert len(server.requests) == 1
        now += 31
        asked.enhance("fox", CLIP)
        assert len(server.requests) == 2


def test_a_wrong_key_of_one_does_not_stop_the_others(enhancer: Callable[..., Enhancer]) -> None:
    with fault_server("401") as server:
        asked = enhancer(server.url)
        for i in range(5):
            assert "did not accept the key" in asked.enhance(f"fox {i}", CLIP).note
        assert len(server.requests) == 5


async def _quick(service: Service, system: str, user: str, hear: Callable[[str], None]) -> str:
    hear(PHRASES)
    return PHRASES


def test_limits_of_a_session_and_of_a_day(enhancer: Callable[..., Enhancer]) -> None:
    now = 0.0
    asked = enhancer("http://x/v1", ask=_quick, per_day=PER_HOUR + 5, clock=lambda: now)

    def ask(number: int, session: str) -> Draft:
        return asked.enhance(f"fox {number}", CLIP, session=session)

    assert all(ask(i, "a").engine == "api" for i in range(PER_HOUR))
    assert "for the hour" in ask(100, "a").note
    assert all(ask(200 + i, "b").engine == "api" for i in range(5))
    assert "for today" in ask(300, "b").note
    own = Service(OPENAI_URL, "small", SecretStr(CANARY), users_own=True)
    assert asked.enhance("fox", CLIP, service=own, session="a").engine == "api"
    now += 86401
    assert ask(400, "a").engine == "api"


class Slow:
    """Questions that end when the test says so."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.go_on = threading.Event()

    def __call__(
        self, service: Service, system: str, user: str, hear: Callable[[str], None]
    ) -> Coroutine[Any, Any, str]:
        return self._answer(hear)

    async def _answer(self, hear: Callable[[str], None]) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while not self.go_on.is_set():
                hear(".")
                await asyncio.sleep(0.01)
            return PHRASES
        finally:
            self.running -= 1


def test_at_most_two_questions_run_at_once() -> None:
    slow = Slow()
    asked = Enhancer(Service("http://x/v1", "small"), seconds=5.0, ask=slow)
    drafts: list[Draft] = []
    threads = [
        threading.Thread(target=lambda i=i: drafts.append(asked.enhance(f"fox {i}", CLIP)))  # type: ignore[misc]
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: slow.running == 2 and len(drafts) == 2)  # the others have given up
    slow.go_on.set()
    for thread in threads:
        thread.join(10)
    asked.close()
    assert slow.most == 2
    assert sorted(draft.engine for draft in drafts) == ["api", "api", "built-in", "built-in"]


def test_skipping_ends_the_question() -> None:
    slow = Slow()
    asked = Enhancer(Service("http://x/v1", "small"), seconds=30.0, ask=slow)

    def skip(text: str) -> None:
        raise GivenUp

    with pytest.raises(GivenUp):
        asked.enhance("fox", CLIP, on_text=skip)
    wait_until(lambda: not slow.running)
    asked.close()


@pytest.mark.parametrize(("again", "engine"), [("A red fox on a roof.", "api"), ("owls", "api")])
def test_a_rewriting_that_loses_is_asked_once_more(again: str, engine: str) -> None:
    answers = ["several birds in a wood", again]
    systems: list[str] = []

    async def ask(service: Service, system: str, user: str, hear: Callable[[str], None]) -> str:
        systems.append(system)
        return answers.pop(0)

    asked = Enhancer(Service("http://x/v1", "small"), ask=ask)
    draft = asked.enhance("a red fox", dataclasses.replace(CLIP, rewrites=True, budget=200))
    asked.close()
    assert "lacked: red, fox" in systems[1]
    assert draft.engine == engine
    if again == "owls":
        assert draft.text == "a red fox, several birds in a wood"
        assert "Only additions were kept" in draft.note
    else:
        assert draft.text == again


def test_without_a_key_nothing_is_asked(enhancer: Callable[..., Enhancer]) -> None:
    asked = enhancer()
    assert asked.enhance("a red fox", CLIP).note == ""
    assert asked.enhance("a red fox", CLIP, "api").note.startswith("No key is set")
    full = asked.enhance("a portrait in soft light, dark background, fine texture", CLIP, "api")
    assert full.engine == "own words"
    assert full.note == "No key is set for a language model. Your own words are used as they are."


# --- whom we ask, with which key


def test_keys_live_an_hour_and_are_never_shown() -> None:
    now = 0.0
    ring = KeyRing(lambda: now)
    service = users_service(CANARY, urls_allowed=False)
    name = ring.keep(service)
    assert ring.find(name) == service
    assert CANARY not in f"{service} {service!r} {ring.__dict__} {name}"
    now += LIFETIME
    assert ring.find(name) is None
    other = ring.keep(service)
    ring.forget(other)
    assert ring.find(other) is None


def test_the_operators_service() -> None:
    key = SecretStr(CANARY)
    assert operators_service("", "", None) is None
    default = operators_service("", "", key)
    assert default is not None
    assert (default.url, default.host) == (OPENAI_URL, "api.openai.com")
    ollama = operators_service("http://localhost:11434/v1/", "gemma", None)
    assert ollama is not None
    assert (ollama.url, ollama.host) == ("http://localhost:11434/v1", "localhost:11434")
    for url, model in [
        ("ftp://x/v1", "m"), ("http://me:pw@x/v1", "m"), ("http://x/v1?k=1", "m"), ("x", "m"),
        ("http://localhost:11434/v1", ""), ("http://x:99999/v1", "m"),
    ]:  # fmt: skip
        with pytest.raises(SettingError, match="SDGEN_ENHANCE"):
            operators_service(url, model, key)
    with pytest.raises(SettingError) as refused:
        operators_service("", "", SecretStr(f"{CANARY} x"))
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "field"),
    [
        ("http://example.com/v1", "url"),
        ("https://example.com:8443/v1", "url"),
        ("https://127.0.0.1/v1", "url"),
        ("https://10.0.0.1/v1", "url"),
        ("https://[::1]/v1", "url"),
        ("https://[::ffff:127.0.0.1]/v1", "url"),
        ("https://169.254.169.254/latest", "url"),
        ("https://me@example.com/v1", "url"),
        ("https://example.com\\@evil/v1", "url"),
        ("https://exa mple.com/v1", "url"),
        ("file:///etc/passwd", "url"),
    ],
)
def test_addresses_of_users_that_are_refused(url: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        users_service(CANARY, url, "m", urls_allowed=True)
    assert refused.value.field == field


def test_an_address_needs_a_key_and_the_operators_leave() -> None:
    with pytest.raises(InvalidRequest, match="key of your own"):
        users_service("", "https://example.com/v1", "m", urls_allowed=True)
    with pytest.raises(InvalidRequest, match="not taken here"):
        users_service(CANARY, "https://example.com/v1", "m", urls_allowed=False)
    service = users_service(CANARY, "https://example.com/v1/", "m", urls_allowed=True)
    assert service.users_own
    assert service.public_only
    # A key without an address goes to OpenAI, never to the operator's server.
    assert users_service(CANARY, urls_allowed=False).url == OPENAI_URL
    for key in ("", "short", f"{CANARY}\r\nX: y", "ключ-ключ-ключ"):
        with pytest.raises(InvalidRequest) as refused:
            users_service(key, urls_allowed=False)
        assert CANARY not in str(refused.value)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1.nip.invalid"])
def test_names_that_lead_inside_are_not_asked(name: str, enhancer: Callable[..., Enhancer]) -> None:
    service = Service(f"https://{name}/v1", "m", SecretStr(CANARY), True, True)
    draft = enhancer(service=service).enhance("a red fox", CLIP)
    assert draft.engine == "built-in"
    assert f"{name} is not an address of the internet." in draft.note


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2001:4860:4860::8888", True), ("127.0.0.1", False), ("0.0.0.0", False),
        ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("100.64.0.1", False),
        ("169.254.169.254", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("::1", False), ("fe80::1", False), ("fc00::1", False), ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False), ("2002:7f00:1::", False), ("::", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def test_the_fault_server_itself_ends() -> None:
    before = threading.active_count()
    with fault_server("silent") as server:
        assert isinstance(server, FaultServer)
    assert threading.active_count() == before
