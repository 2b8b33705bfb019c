"""A broken service is left alone, tried once, and asked again only where that went well; what the
operator pays for is counted; drafts are remembered. By a clock of the test's own."""

import dataclasses
from collections.abc import Callable

import pytest

from sdgen.enhance.draft import Draft
from sdgen.enhance.limits import (
    DAY,
    FAILURES,
    HOUR,
    PAUSE_SECONDS,
    PAYERS_MAX,
    Allowance,
    Breaker,
    Cache,
    cache_key,
)
from sdgen.enhance.trouble import SERVERS_FAULT, ServiceTrouble

URL, OTHER = "http://a/v1", "http://b/v1"
DOWN = ServiceTrouble("unreachable")


@dataclasses.dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def refusal(ask: Callable[[str], None], whom: str) -> str:
    """The reason that this raises; "" for none."""
    try:
        ask(whom)
    except ServiceTrouble as trouble:
        return trouble.reason
    return ""


def is_open(breaker: Breaker, url: str = URL) -> bool:
    """Whether the service is left alone."""
    return refusal(breaker.check, url) == "paused"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broken(clock: Clock) -> Breaker:
    """Its service has failed as often as it may."""
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert not is_open(breaker)
        breaker.failed(URL, DOWN)
    assert is_open(breaker)
    return breaker


def test_after_the_pause_one_try_decides(broken: Breaker, clock: Clock) -> None:
    """Half open: a service that is still down costs one question a pause, not FAILURES."""
    clock.now += PAUSE_SECONDS - 1
    assert is_open(broken)
    for _ in range(3):
        clock.now += PAUSE_SECONDS
        assert not is_open(broken)
        broken.failed(URL, DOWN)
        assert is_open(broken)
    clock.now += PAUSE_SECONDS
    broken.failed(URL, ServiceTrouble("limit", wait_seconds=20.0))
    clock.now += PAUSE_SECONDS
    assert not is_open(broken), "one that asks to wait is left alone no longer than a broken one"
    assert not is_open(broken, OTHER)


def test_a_try_that_goes_well_forgives_all(broken: Breaker, clock: Clock) -> None:
    clock.now += PAUSE_SECONDS
    broken.succeeded(OTHER)  # of which nothing is known; that is another one's
    broken.failed(URL, DOWN)
    assert is_open(broken)
    broken.succeeded(URL)
    assert not is_open(broken)
    for _ in range(FAILURES - 1):
        broken.failed(URL, DOWN)
        assert not is_open(broken)
    broken.failed(URL, DOWN)
    assert is_open(broken)


def test_only_failures_in_a_row_count(clock: Clock) -> None:
    breaker = Breaker(clock)
    for _ in range(5):
        for _ in range(FAILURES - 1):
            breaker.failed(URL, DOWN)
        breaker.succeeded(URL)
        assert not is_open(breaker)


def test_what_is_not_the_server_s_fault_does_not_count(clock: Clock) -> None:
    breaker = Breaker(clock)
    for reason in ("key", "request", "no text", "refused", "nothing", "busy", "paused", "lost"):
        assert reason not in SERVERS_FAULT
        for _ in range(FAILURES):
            breaker.failed(URL, ServiceTrouble(reason, wait_seconds=99.0))  # type: ignore[arg-type]
    assert not is_open(breaker)


def test_a_service_that_asks_to_wait_is_left_alone_as_long_and_then_tried_once(
    clock: Clock,
) -> None:
    breaker = Breaker(clock)
    breaker.failed(URL, ServiceTrouble("limit", wait_seconds=20.0))
    clock.now += 19.5
    assert is_open(breaker)
    clock.now += 0.5
    assert not is_open(breaker)
    breaker.failed(URL, ServiceTrouble("limit", wait_seconds=20.0))
    clock.now += PAUSE_SECONDS - 1
    assert is_open(breaker), "it failed again, so the longer of both pauses holds"
    clock.now += 1
    assert not is_open(breaker)
    breaker.failed(URL, ServiceTrouble("limit", wait_seconds=3 * PAUSE_SECONDS))
    clock.now += 2 * PAUSE_SECONDS
    assert is_open(breaker)


def test_a_payer_s_drafts_come_back_one_by_one_within_the_hour(clock: Clock) -> None:
    allowance = Allowance(per_day=100, per_hour=2, clock=clock)
    assert refusal(allowance.take, "a") == ""
    clock.now += 100
    assert refusal(allowance.take, "a") == ""
    assert refusal(allowance.take, "a") == "hour limit"
    assert refusal(allowance.take, "b") == ""
    clock.now += HOUR - 100
    assert refusal(allowance.take, "a") == "hour limit", "the first is an hour old and counts still"
    clock.now += 1
    assert refusal(allowance.take, "a") == ""
    assert refusal(allowance.take, "a") == "hour limit", "the second is not an hour old"


def test_a_day_s_drafts_are_everybody_s_together_and_a_refused_one_costs_nothing(
    clock: Clock,
) -> None:
    allowance = Allowance(per_day=3, per_hour=2, clock=clock)
    assert [refusal(allowance.take, who) for who in "aaab"] == ["", "", "hour limit", ""]
    assert refusal(allowance.take, "c") == "day limit"
    clock.now += DAY + 1
    assert [refusal(allowance.take, who) for who in "cab"] == ["", "", ""]


def test_whoever_asked_longest_ago_is_forgotten_first(clock: Clock) -> None:
    allowance = Allowance(per_day=10**6, per_hour=1, clock=clock)
    for number in range(PAYERS_MAX):
        assert refusal(allowance.take, f"{number}") == ""
    assert refusal(allowance.take, "0") == "hour limit", "so many are remembered"
    assert refusal(allowance.take, "new") == ""
    assert refusal(allowance.take, "0") == "hour limit"
    assert refusal(allowance.take, "1") == "", "it was forgotten for the new one"


def draft(text: str) -> Draft:
    return Draft(text, (), (), "api", "", original=text)


def test_the_drafts_used_lately_are_remembered() -> None:
    cache = Cache(size=2)
    cache.put("a", draft("a"))
    cache.put("b", draft("b"))
    assert cache.get("a") == draft("a")  # so "b" is the one that leaves
    cache.put("c", draft("c"))
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == (draft("a"), draft("c"))
    cache.put("d", draft("a red fox"))
    assert "fox" not in repr(cache)


def test_a_key_tells_questions_apart_and_says_nothing() -> None:
    keys = {cache_key(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("a\0b", "c"), ())}
    assert len(keys) == 5
    assert cache_key("secret prompt") == cache_key("secret prompt")
    assert "secret" not in cache_key("secret prompt")
    assert cache_key("\ud800")  # half a character is no reason to fail
