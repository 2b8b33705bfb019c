"""Owners are names of folders on disk: they may never change, and tell nothing."""

import re

from sdgen.owners import (
    ANYONE,
    LOCAL,
    Visitor,
    is_token,
    new_token,
    owner_of_login,
    owner_of_token,
)


def test_owners_are_those_of_the_folders_that_are_there() -> None:
    """As since the first release; with another digest nobody would find his pictures again."""
    assert owner_of_token("a" * 32) == "8de922447c17c25ebd38"
    assert owner_of_login("ann") == "eda489ae17759bde0a40"
    assert owner_of_login("bob") == "bbfaed85ffb1fa4e76a0"
    assert (LOCAL, ANYONE) == ("local", "anyone")


def test_a_login_and_a_token_of_one_text_are_two_owners() -> None:
    assert owner_of_login("a" * 32) != owner_of_token("a" * 32)


def test_what_is_a_token() -> None:
    token = new_token()
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert token != new_token()
    for good in (token, "x" * 32, "A-z_0" * 7, "x" * 128):
        assert is_token(good), good
    for bad in ("x" * 31, "x" * 129, "x" * 31 + "!", "x" * 32 + "\n", None, 7, b"x" * 32):
        assert not is_token(bad), bad


def test_programs_without_a_token_take_turns_by_their_address() -> None:
    assert Visitor("ann", "address").turns == "ann"
    assert Visitor(ANYONE, "address").turns == "address"
