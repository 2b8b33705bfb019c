"""What can go wrong with a chat service, as fixed sentences: nothing a server said is repeated."""

from typing import Literal

Reason = Literal[
    "unreachable", "late", "key", "limit", "server", "request", "redirect", "no text", "too much",
    "refused", "nothing", "busy", "paused", "hour limit", "day limit", "lost", "address",
]  # fmt: skip
SENTENCES: dict[Reason, str] = {
    "unreachable": "{host} could not be reached.",
    "late": "{host} took longer than {seconds:.0f} seconds.",
    "key": "{host} did not accept the key.",
    "limit": "{host} asks to wait: too many calls, or its credit is used up.",
    "server": "{host} has a problem of its own.",
    "request": "{host} did not understand the question; is the model's name right?",
    "redirect": "{host} points elsewhere, and we do not follow.",
    "no text": "{host} sent no text. A thinking model may need its thinking switched off.",
    "too much": "{host} sent far more than a prompt.",
    "refused": "The language model did not describe a picture.",
    "nothing": "The language model found nothing to add.",
    "busy": "Two other drafts are being written just now.",
    "paused": "{host} failed several times, so it is left alone for a minute.",
    "hour limit": "You have had your drafts for the hour.",
    "day limit": "The drafts that the app's owner pays for are used up for today.",
    "lost": "The language model's draft lost part of your prompt.",
    "address": "{host} is not an address of the internet.",
}
# Reasons that say something about the server, not about one key or one prompt.
SERVERS_FAULT: frozenset[Reason] = frozenset(
    ("unreachable", "late", "limit", "server", "redirect", "too much", "address")
)


class ServiceTrouble(Exception):
    """A chat service gave no draft. wait_seconds: how long it asked to be left alone."""

    def __init__(self, reason: Reason, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.wait_seconds = wait_seconds

    def sentence(self, host: str, seconds: float) -> str:
        """For the user. host: who was asked; seconds: the time it had."""
        return SENTENCES[self.reason].format(host=host, seconds=seconds)


class GivenUp(Exception):
    """The one who asked for a draft does not want it any more."""
