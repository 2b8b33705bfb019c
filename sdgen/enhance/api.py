"""The API engine: asks a language model, and lets the guard decide what of its answer is used."""

import time
from collections.abc import Callable
from dataclasses import replace

from sdgen.enhance import guard, instructions
from sdgen.enhance.calls import Calls
from sdgen.enhance.cleaning import cleaned, is_refusal, phrases_of
from sdgen.enhance.draft import API, Context, Draft
from sdgen.enhance.language import STOP_WORDS, stem, stems, words_of
from sdgen.enhance.service import Service
from sdgen.enhance.trouble import SENTENCES, ServiceTrouble

DEADLINE = 8.0  # seconds in all
ASK_AGAIN = 3.0  # seconds that must be left for a second question
PHRASES = 8  # of an answer that are appended

OnText = Callable[[str], None]  # the draft so far; may raise GivenUp


class ApiEngine:
    """Drafts by one service. `enhance` raises ServiceTrouble where there is none."""

    def __init__(
        self,
        calls: Calls,
        service: Service,
        on_text: OnText | None = None,
        seconds: float = DEADLINE,
    ) -> None:
        self._calls, self._service, self._on_text = calls, service, on_text
        self._seconds = seconds

    def enhance(self, prompt: str, context: Context) -> Draft:
        self._calls.prepare()
        deadline = time.monotonic() + self._seconds
        protected = guard.protected(prompt, context.triggers)
        system = instructions.system_text(context, protected)
        answer = self._answer(prompt, context, system, deadline)
        if context.rewrites:
            draft = self._rewritten(prompt, context, answer, deadline)
        else:
            draft = additions(prompt, answer, context)
        return replace(draft, model=self._service.model)

    def _answer(self, prompt: str, context: Context, system: str, deadline: float) -> str:
        """The cleaned answer. Raises ServiceTrouble also for one that describes no picture."""

        def show(so_far: str) -> None:
            if self._on_text is not None:
                text = cleaned(so_far)
                shown = (
                    text if context.rewrites or not text else guard.behind(prompt, text, context)
                )
                self._on_text(shown or prompt)

        user = instructions.user_text(prompt, context)
        answer = cleaned(self._calls.call(self._service, system, user, deadline, show))
        if not answer:
            raise ServiceTrouble("no text")
        if is_refusal(answer):
            raise ServiceTrouble("refused")
        return answer

    def _rewritten(self, prompt: str, context: Context, answer: str, deadline: float) -> Draft:
        draft = rewriting(prompt, answer, context)
        if draft is None and deadline - time.monotonic() > ASK_AGAIN:
            lost = guard.losses(prompt, answer, context)
            system = instructions.system_text(
                context,
                guard.protected(prompt, context.triggers),
                (*lost.strings, *lost.words, *lost.numbers),
            )
            draft = rewriting(prompt, self._answer(prompt, context, system, deadline), context)
        if draft is not None:
            return draft
        text, added = guard.appended(prompt, phrases_of(answer)[-3:], context)
        return Draft(text, added, (), API, f"{SENTENCES['lost']} Only additions were kept.", prompt)


def additions(prompt: str, answer: str, context: Context) -> Draft:
    """The user's text with what an answer may add to it. Raises ServiceTrouble for nothing.

    For any prompt and answer: the text begins with the prompt, holds every trigger word, and is
    not longer than the model reads unless the prompt and its triggers were.
    """
    allowed = [phrase for phrase in phrases_of(answer) if guard.harmless(phrase, prompt)]
    if context.words is not None:
        allowed = [phrase for phrase in allowed if not context.words.unknown(phrase)]
    text, added = guard.appended(prompt, allowed[:PHRASES], context)
    if not added:
        raise ServiceTrouble("nothing")
    return Draft(text, added, (), API, original=prompt)


def rewriting(prompt: str, answer: str, context: Context) -> Draft | None:
    """An answer as the whole prompt, with what it lost put back; None where it lost too much."""
    lost = guard.losses(prompt, answer, context)
    text = guard.repaired(answer, lost, context)
    if text is None or guard.losses(prompt, text, context).any:
        return None
    there = stems(prompt)
    new = [word for word in dict.fromkeys(words_of(text)) if stem(word) not in there]
    added = tuple(word for word in new if word not in STOP_WORDS)
    return Draft(text, added, guard.dropped_words(prompt, text), API, original=prompt)
