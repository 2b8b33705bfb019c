"""What the studio does with LoRA adapters: find, judge, hand on, and write into recipes."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdgen.adapters import AdapterReport, Catalogue, Verdict, verdict
from sdgen.adapters.bundled import ByFamily
from sdgen.adapters.tags import take_tags
from sdgen.errors import AdapterRefused, AdapterUnavailable, InvalidRequest
from sdgen.metadata import RecipeAdapter
from sdgen.models import ModelSpec
from sdgen.request import AdapterUse


@dataclass(frozen=True)
class AdapterCard:
    """What a person needs to know to choose an adapter for a model."""

    name: str  # for AdapterUse.name
    title: str
    local: bool  # on this machine: needs no download
    source: str  # as AdapterReport.source
    verdict: Verdict | None  # None: it is not here, so nobody has looked into it
    report: AdapterReport | None = field(default=None, repr=False)
    hub_id: str = ""  # what to fetch, of one that is not here


@dataclass(frozen=True)
class Resolved:
    """The adapters of one request: for the engine, for the recipe, and what to say."""

    uses: tuple[AdapterUse, ...] = ()  # named by path
    recipes: tuple[RecipeAdapter, ...] = ()
    notes: tuple[str, ...] = ()


class AdapterDesk:
    """Adapters by the names that users know. Thread-safe, as the catalogue is.

    A bundled choice has one name for all models and may be another file for each: for Stable
    Diffusion 1.5 one of the Hub, which is not here before somebody had it fetched.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        # By file hash, model and whether alpha is told, which settings that come later change.
        self._judged: dict[tuple[str, str, bool], Verdict] = {}

    def cards(self, spec: ModelSpec) -> list[AdapterCard]:
        """All that there are, those that fit first."""
        choices = {choice.name: choice for choice in self.catalogue.choices(spec)}
        chosen = [self._choice(choice, spec) for choice in choices.values()]
        taken = {card.report.sha256 for card in chosen if card.report}
        found = [
            self.card(report, spec)
            for report in self.catalogue.list()
            if report.name not in choices and report.sha256 not in taken
        ]
        order = {"fits": 0, "warns": 1, "refused": 3}
        cards = [*chosen, *found]
        cards.sort(key=lambda card: order[card.verdict.level] if card.verdict else 2)
        return cards

    def card(self, report: AdapterReport, spec: ModelSpec) -> AdapterCard:
        """One that is here, judged for a model."""
        return AdapterCard(
            report.name, report.title, True, report.source, self._verdict(report, spec), report
        )

    def find(self, name: str, spec: ModelSpec) -> AdapterReport:
        """The one of that name for that model, if it is here.

        Raises InvalidRequest for an unknown name, with the nearest; AdapterUnavailable for one
        that must be fetched first; AdapterRefused for a broken file.
        """
        choice = next((c for c in self.catalogue.choices(spec) if c.name == name), None)
        if choice is not None:
            return self._report(choice, spec)
        try:
            return self.catalogue.find(name)
        except AdapterRefused:
            raise
        except AdapterUnavailable as error:
            raise InvalidRequest("adapters", str(error)) from error

    def examine(self, path: Path, spec: ModelSpec) -> AdapterCard:
        """A file that is not taken in, judged for a model. Raises AdapterRefused."""
        report = self.catalogue.examine(path)
        return AdapterCard(
            report.name, report.title, True, report.source, verdict(report, spec), report
        )

    def triggers(self, names: Sequence[str], spec: ModelSpec) -> tuple[str, ...]:
        """The trigger words of those that are here, each once."""
        cards = self.cards(spec) if names else []
        reports = [card.report for card in cards if card.name in names]
        words = [word for report in reports if report for word in report.triggers]
        return tuple(dict.fromkeys(words))

    def resolve(self, uses: Sequence[AdapterUse], spec: ModelSpec) -> Resolved:
        """Where the files are, and what of them will apply.

        Raises what `find` raises, and AdapterRefused for one that does not fit.
        """
        paths: list[AdapterUse] = []
        recipes: list[RecipeAdapter] = []
        notes: list[str] = []
        for use in uses:
            report = self.find(use.name, spec)
            judged = self._verdict(report, spec)
            if judged.level == "refused":
                raise AdapterRefused(f"The adapter “{report.title}”: {judged.sentence}")
            if judged.level == "warns":
                notes.append(f"The adapter “{report.title}”: {judged.sentence}")
            paths.append(use.model_copy(update={"name": str(report.path.absolute())}))
            recipes.append(
                RecipeAdapter(
                    name=report.name,
                    sha256=report.sha256,
                    a1111_hash=report.a1111_hash,
                    source=report.source,
                    scale=use.scale,
                    text_scale=use.text_scale,
                )
            )
        return Resolved(tuple(paths), tuple(recipes), tuple(notes))

    def _verdict(self, report: AdapterReport, spec: ModelSpec) -> Verdict:
        """The verdict, remembered unless it only says that the model is not here."""
        key = report.sha256, spec.name, report.alpha_is_told
        known = self._judged.get(key)
        if known is None:
            try:
                known = verdict(report, spec)
            except AdapterRefused as error:
                return Verdict("refused", 0.0, str(error))
            if known.level == "refused" or known.share > 0:
                self._judged[key] = known
        return known

    def _report(self, choice: ByFamily, spec: ModelSpec) -> AdapterReport:
        """A bundled choice's file for a model. Raises AdapterUnavailable where it is not here."""
        report = self.catalogue.find(choice.hub_id_for(spec) or choice.name)
        return replace(
            report,
            name=choice.name,
            title=choice.title,
            triggers=report.triggers or choice.triggers,
        )

    def _choice(self, choice: ByFamily, spec: ModelSpec) -> AdapterCard:
        try:
            return self.card(self._report(choice, spec), spec)
        except AdapterUnavailable:
            hub_id = choice.hub_id_for(spec) or ""
            source = f"hub:{hub_id}"
            return AdapterCard(choice.name, choice.title, False, source, None, None, hub_id)


def with_tags(fields: dict[str, object]) -> dict[str, object]:
    """The fields of a request with the tags of its prompt among its adapters.

    A tag wins over an adapter of the same name that was also picked; its place stays. Raises
    InvalidRequest for a malformed tag, and for one where it has no effect.
    """
    prompt, negative = fields.get("prompt"), fields.get("negative_prompt")
    if isinstance(negative, str) and take_tags(negative)[1]:
        raise InvalidRequest(
            "negative_prompt", "An adapter's tag belongs in the prompt, not in the negative one."
        )
    if not isinstance(prompt, str):
        return fields
    plain, tags = take_tags(prompt)
    if not tags:
        return fields
    given = fields.get("adapters") or ()
    if not isinstance(given, list | tuple):
        return {**fields, "prompt": plain}  # refused in a moment, by name
    tagged = {
        name: {"name": name, "scale": scale, "text_scale": text_scale}
        for name, scale, text_scale in tags
    }
    picked: list[object] = [tagged.pop(_name_of(entry), entry) for entry in given]
    return {**fields, "prompt": plain, "adapters": [*picked, *tagged.values()]}


def tag_of(use: AdapterUse) -> str:
    """The tag that asks for it; the text encoder's strength comes first."""
    if use.text_scale is None:
        return f"<lora:{use.name}:{use.scale:g}>"
    return f"<lora:{use.name}:{use.text_scale:g}:{use.scale:g}>"


def without_tags(prompt: str) -> str:
    """The prompt as the model reads it; one with a malformed tag as it is."""
    try:
        return take_tags(prompt)[0]
    except InvalidRequest:
        return prompt


def _name_of(entry: object) -> str:
    name = entry.name if isinstance(entry, AdapterUse) else None
    if isinstance(entry, dict):
        name = entry.get("name")
    return name if isinstance(name, str) else ""
