"""Who asks: login before token before nobody; limits count for what a person cannot change."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.requests import Request

from sdgen.config import Settings
from sdgen.owners import (
    ANYONE,
    LOCAL_VISITOR,
    Visitor,
    new_token,
    owner_of_login,
    owner_of_token,
)
from sdgen.web import personal_link, visitor_of
from sdgen.web.visitors import COOKIE, address_of, cookie_header, cookie_token
from tests.serving import GRADIO_WARNINGS

pytestmark = GRADIO_WARNINGS
TOKEN, OTHER = new_token(), new_token()


def request(
    token: str = "", header: str = "", client: str | None = "203.0.113.7", **headers: str
) -> Request:
    """A request as Starlette gives it."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        told["cookie"] = f"theme=dark; {COOKIE}={token}"
    if header:
        told["x-sdgen-token"] = header
    raw = [(name.encode(), value.encode()) for name, value in told.items()]
    where = (client, 1234) if client is not None else None
    return Request({"type": "http", "headers": raw, "client": where})


def test_login_before_header_before_cookie_before_nobody(settings: Settings) -> None:
    owner = visitor_of(request(TOKEN, OTHER), "ann", settings).owner
    assert owner == owner_of_login("ann")
    assert visitor_of(request(TOKEN, OTHER), None, settings).owner == owner_of_token(OTHER)
    assert visitor_of(request(TOKEN), None, settings).owner == owner_of_token(TOKEN)
    assert visitor_of(request(), None, settings) == Visitor(ANYONE, ANYONE)


@pytest.mark.parametrize("wrong", ["short", "x" * 31, "x" * 129, "ü" * 40, "a b" * 20, "<" * 40])
def test_what_has_not_the_form_of_a_token_is_none(settings: Settings, wrong: str) -> None:
    shown = SimpleNamespace(headers={"x-sdgen-token": wrong}, cookies={COOKIE: wrong}, client=None)
    assert visitor_of(shown, None, settings).owner == ANYONE
    assert cookie_token(shown) == ""


def test_one_user_is_the_local_one_whatever_is_shown(settings: Settings) -> None:
    alone = settings.model_copy(update={"one_user": True})
    assert visitor_of(request(TOKEN), "ann", alone) == LOCAL_VISITOR
    assert personal_link(request(TOKEN), alone) == ""


@pytest.mark.parametrize("public", [{"host": "0.0.0.0"}, {"share": True}])
def test_where_strangers_come_limits_count_for_the_address(
    settings: Settings, public: dict[str, Any]
) -> None:
    open_to_all = settings.model_copy(update=public)
    here = visitor_of(request(TOKEN), None, open_to_all)
    assert here.payer == visitor_of(request(OTHER), None, open_to_all).payer  # another cookie
    assert here.payer != here.owner
    assert "203.0.113.7" not in here.payer
    elsewhere = visitor_of(request(TOKEN, client="203.0.113.8"), None, open_to_all)
    assert elsewhere.payer != here.payer
    assert elsewhere.owner == here.owner
    assert visitor_of(request(client=None), None, open_to_all) == Visitor(ANYONE, ANYONE)


def test_where_nobody_else_comes_limits_count_for_the_owner(settings: Settings) -> None:
    here = visitor_of(request(TOKEN), None, settings)
    assert here.payer == here.owner
    with_login = settings.model_copy(update={"host": "0.0.0.0", "auth": SecretStr("ann:secret")})
    known = visitor_of(request(TOKEN), "ann", with_login)
    assert known.payer == known.owner == owner_of_login("ann")


def test_on_a_space_the_address_is_in_a_header(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forwarded(chain: str) -> Request:
        return request(TOKEN, client="10.0.0.4", x_forwarded_for=chain)

    here = visitor_of(forwarded("8.8.4.4"), None, settings, on_space=True)
    forged = visitor_of(forwarded("1.2.3.4, 8.8.4.4, 10.1.2.3"), None, settings, on_space=True)
    assert forged.payer == here.payer  # what a visitor writes himself stands before it
    other = visitor_of(forwarded("8.8.8.8"), None, settings, on_space=True)
    assert other.payer != here.payer
    monkeypatch.setenv("SPACE_ID", "ann/sdgen")
    assert visitor_of(forwarded("8.8.4.4"), None, settings) == here
    monkeypatch.delenv("SPACE_ID")
    assert visitor_of(forwarded("8.8.4.4"), None, settings).payer == owner_of_token(TOKEN)


def test_addresses_that_one_person_has_are_one() -> None:
    assert address_of(request(client="2001:db8:1:2:aaaa::1")) == "2001:db8:1:2::/64"
    assert address_of(request(client="2001:db8:1:2:bbbb::9")) == "2001:db8:1:2::/64"
    assert address_of(request(client="2001:db8:1:3::1")) == "2001:db8:1:3::/64"
    assert address_of(request(client="::ffff:203.0.113.7")) == "203.0.113.7"
    assert address_of(request(client="testclient")) == "testclient"
    assert address_of(request(client=None)) == ""
    assert address_of(request(client="8.8.8.8", x_forwarded_for="1.1.1.1")) == "8.8.8.8"


def test_a_request_of_gradio_s_is_read_the_same(settings: Settings) -> None:
    import gradio as gr  # here: the others need no second of waiting for it

    open_to_all = settings.model_copy(update={"host": "0.0.0.0"})
    plain = request(TOKEN)
    wrapped = gr.Request(plain, username=None)
    assert visitor_of(wrapped, wrapped.username, open_to_all) == visitor_of(
        plain, None, open_to_all
    )
    assert personal_link(wrapped, settings) == f"./?me={TOKEN}"
    # As on ZeroGPU, where it has travelled to another process; and a cookie with a bad name.
    travelled = gr.Request(
        username=None,
        headers={"x-sdgen-token": OTHER, "get": "x"},
        cookies={COOKIE: TOKEN, "get": "x", "keys": "y"},
        client={"host": "203.0.113.7", "port": 1},
    )
    assert visitor_of(travelled, None, open_to_all).owner == owner_of_token(OTHER)
    assert (
        visitor_of(travelled, None, open_to_all).payer == visitor_of(plain, None, open_to_all).payer
    )
    assert cookie_token(travelled) == TOKEN


def test_the_link_is_the_cookie_s_and_not_with_a_login(settings: Settings) -> None:
    assert personal_link(request(TOKEN), settings) == f"./?me={TOKEN}"
    assert personal_link(request(header=TOKEN), settings) == ""
    assert personal_link(request(), settings) == ""
    with_login = settings.model_copy(update={"auth": SecretStr("ann:secret")})
    assert personal_link(request(TOKEN), with_login) == ""


def test_the_cookie_is_for_the_server_alone() -> None:
    told = cookie_header(TOKEN, on_space=False, https=False)
    assert told == f"{COOKIE}={TOKEN}; Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax"
    assert cookie_header(TOKEN, on_space=False, https=True).endswith("SameSite=Lax; Secure")
    on_space = cookie_header(TOKEN, on_space=True, https=False)
    assert on_space.endswith("HttpOnly; SameSite=None; Secure; Partitioned")
    for root in ("/app", "/app/", "https://example.org/app"):
        assert "; Path=/app;" in cookie_header(TOKEN, on_space=False, https=True, root_path=root)
    odd = cookie_header(TOKEN, on_space=False, https=True, root_path="/X/APP-X/")
    assert "; Path=/X/APP-X;" in odd
    at_root = cookie_header(TOKEN, on_space=False, https=True, root_path="https://example.org")
    assert "; Path=/;" in at_root


def test_what_is_no_text_is_nothing(settings: Settings) -> None:
    """An object of another library's may hold anything under a name."""
    odd = SimpleNamespace(headers={"x-sdgen-token": 7}, cookies={COOKIE: None}, client=None)
    assert cookie_token(odd) == ""
    assert visitor_of(odd, None, settings) == Visitor(ANYONE, ANYONE)
    assert address_of(odd, on_space=True) == ""


def test_a_payer_is_known_by_the_address_and_does_not_tell_it(settings: Settings) -> None:
    open_to_all = settings.model_copy(update={"host": "0.0.0.0"})
    payer = visitor_of(request(client="203.0.113.7"), None, open_to_all).payer
    assert re.fullmatch("[0-9a-f]{20}", payer)
    assert payer == visitor_of(request(TOKEN), None, open_to_all).payer, "whatever the cookie"
