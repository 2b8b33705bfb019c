"""The adapters that sdgen comes with: one name, and for each family of models a source."""

from collections.abc import Mapping
from dataclasses import dataclass

from sdgen.adapters.modules import family_of
from sdgen.models import ModelSpec


@dataclass(frozen=True)
class ByFamily:
    """One choice. Where no bundled file fits the model, it points to a repository of the Hub."""

    name: str
    title: str
    triggers: tuple[str, ...]
    hub: Mapping[str, str]  # family of the model -> Hub id

    def hub_id_for(self, spec: ModelSpec) -> str | None:
        """The Hub id to fetch for a model, or None: the bundled file is for it, or nothing is."""
        family = family_of(spec)
        return None if family is None else self.hub.get(family)

    @property
    def not_here(self) -> str:
        """Why it cannot be used just now, where its bundled file is missing."""
        return (
            f"The LoRA '{self.name}' is not on this machine. For Stable Diffusion 1.5 it can be "
            f"fetched from the Hub: {', '.join(self.hub.values())}."
        )


BUNDLED = (
    ByFamily(
        name="minnal-murali",
        title="Minnal Murali",
        triggers=("Minnal Murali",),
        hub={"sd1": "nikhiljose7/lora-sdv1-5-minnal-murali"},
    ),
)
