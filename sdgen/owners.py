"""Whose jobs and pictures these are. An owner is a name without meaning: also that of a folder."""

import hashlib
import re
import secrets
from dataclasses import dataclass

LOCAL = "local"  # the command line, and everybody where the app has one user
ANYONE = "anyone"  # a program without a token: it knows its jobs by their ids, nothing lists them
_TOKEN = re.compile(r"[0-9A-Za-z_-]{32,128}")
_OWNER_DIGITS = 20


@dataclass(frozen=True)
class Visitor:
    """Who asks. payer: whom limits count for; a person can drop a cookie, not an address."""

    owner: str
    payer: str

    @property
    def turns(self) -> str:
        """Whom the queue treats as one when it takes turns."""
        return self.payer if self.owner == ANYONE else self.owner


LOCAL_VISITOR = Visitor(LOCAL, LOCAL)


def new_token() -> str:
    """A personal token: who has it sees the queue and the pictures that belong to it."""
    return secrets.token_hex(16)


def is_token(text: object) -> bool:
    """True for what may be a personal token."""
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def owner_of_token(token: str) -> str:
    """The owner that a personal token stands for; the token cannot be found from it."""
    return _digits("token", token)


def owner_of_login(name: str) -> str:
    """The owner that a login stands for."""
    return _digits("login", name)


def _digits(kind: str, text: str) -> str:
    return hashlib.sha256(f"sdgen {kind} {text}".encode()).hexdigest()[:_OWNER_DIGITS]
