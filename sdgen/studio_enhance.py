"""What the studio does to enhance a prompt: what the model can read, which words must stay."""

from collections.abc import Callable
from dataclasses import replace

from sdgen.config import Settings
from sdgen.enhance import (
    OWN_WORDS,
    Choice,
    Context,
    Draft,
    Enhancer,
    KeyRing,
    Service,
    operators_service,
    users_service,
)
from sdgen.metadata import Enhancement
from sdgen.models import ModelSpec
from sdgen.request import GenerateRequest
from sdgen.studio_adapters import AdapterDesk, tag_of
from sdgen.tokens import BUDGET, SENTENCE_BUDGET, Tokens, reads_sentences, rough_count


class EnhanceDesk:
    """Drafts, and the keys of users who pay for their own. Thread-safe."""

    def __init__(
        self, settings: Settings, adapters: AdapterDesk, tokens: Tokens, enhancer: Enhancer | None
    ) -> None:
        """enhancer: None: one with the operator's service, as the settings say."""
        self._adapters, self._tokens = adapters, tokens
        self.enhancer = enhancer or Enhancer(
            operators_service(
                settings.enhance_url, settings.enhance_model, settings.openai_api_key
            ),
            per_day=settings.enhance_per_day,
        )
        self.keys = KeyRing()

    def draft(
        self,
        request: GenerateRequest,
        spec: ModelSpec,
        written: str,
        choice: Choice,
        *,
        triggers: tuple[str, ...],
        adapters: tuple[str, ...],
        again: int,
        payer: str,
        key_name: str,
        on_text: Callable[[str], None] | None,
    ) -> Draft:
        """A draft for a request of that model. written: its prompt with the tags of adapters."""
        sentences = reads_sentences(spec)
        names = (*adapters, *(use.name for use in request.adapters))
        words = tuple(dict.fromkeys((*triggers, *self._adapters.triggers(names, spec))))

        def count(text: str) -> int:
            counted = self._tokens.count(spec, text)
            return rough_count(text) if counted is None else counted

        context = Context(
            model=request.model,
            budget=SENTENCE_BUDGET if sentences else BUDGET,
            count=count,
            rewrites=sentences,
            words=spec.words,
            triggers=words,
            again=again,
        )
        own = self.keys.find(key_name)
        draft = self.enhancer.enhance(request.prompt, context, choice, own, payer, on_text)
        tags = " ".join(map(tag_of, request.adapters))
        if not tags:
            return draft
        return replace(draft, text=f"{draft.text} {tags}", original=written)

    def keep_key(self, key: str, url: str, model: str, *, urls_allowed: bool) -> str:
        """A name for a user's own key and service. Raises InvalidRequest."""
        return self.keys.keep(users_service(key, url, model, urls_allowed=urls_allowed))

    def service(self, key_name: str) -> Service | None:
        """Who would be asked: the user's own service, else the operator's, else nobody."""
        return self.keys.find(key_name) or self.enhancer.service


def enhancement_of(draft: Draft, prompt: str) -> Enhancement | None:
    """What the recipe of a picture of `prompt` says about the draft; None where it added nothing.

    prompt: what is drawn; a person may have changed the draft.
    """
    if draft.engine == OWN_WORDS or prompt == draft.original:
        return None
    return Enhancement(draft.original, draft.engine, draft.model)
