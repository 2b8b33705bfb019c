"""What an adapter will do to the chosen model, told before anything is loaded."""

from collections import Counter
from pathlib import Path

from sdgen.adapters.fit import Fit, fit
from sdgen.adapters.header import read_header
from sdgen.adapters.modules import family_of_modules, model_modules
from sdgen.adapters.other_models import other_model
from sdgen.adapters.report import KIND_TITLES, AdapterReport, Family, Kind, Verdict
from sdgen.models import ModelSpec

WARNS_BELOW = 0.95  # share of the keys
LEFT_OUT_MAX = 20

FAMILY_TITLES: dict[Family, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "SDXL",
    "other": "",
}


def verdict(report: AdapterReport, spec: ModelSpec, hub_cache: Path | None = None) -> Verdict:
    """Which share of an adapter's keys applies to a model, what does not and why.

    Raises AdapterRefused when the file is gone or changed for the worse, ModelUnavailable where
    the model on this machine is damaged.
    """
    modules = model_modules(spec, hub_cache)
    if modules is None:
        return Verdict(
            "warns",
            0.0,
            f"Whether it fits {spec.title} can be told once that model is on this machine.",
        )
    if not any(name.startswith("unet.") for name in modules):
        return Verdict(
            "refused",
            0.0,
            f"{spec.title} takes no LoRA here: they are mixed into Stable Diffusion 1.x, 2.x "
            "and XL only.",
        )
    header = read_header(report.path)
    found = fit(header, modules, report.settings)
    family = family_of_modules(modules)
    is_foreign = family is not None and report.family not in (family, "other")
    if report.family == "other":  # a text encoder may fit all the same
        is_foreign = bool(other_model({key: entry.shape for key, entry in header.entries.items()}))
    if found.share == 0 or (is_foreign and found.share < WARNS_BELOW):
        # Some shapes of two families are alike, but not what they mean.
        words = _mismatch(report, spec, found, same_family=report.family == family)
        if found.share == 0 and found.unmixed is not None:
            words = unsupported(found.unmixed)
        return Verdict("refused", found.share, words, _left_out(found))
    if found.share < WARNS_BELOW:
        words = _partly(found, spec) + _beside(report)
        return Verdict("warns", found.share, words, _left_out(found))
    words = f"It fits {spec.title}."
    if found.left_out:
        words = f"It fits {spec.title}, but for {_percent(1 - found.share)} of it."
    return Verdict("fits", found.share, words + _beside(report), _left_out(found))


def _beside(report: AdapterReport) -> str:
    """What else must be known of a file that fits: alpha that it does not tell, what is unused."""
    words = ""
    if report.layout == "peft" and report.ranks and not report.alpha_is_told:
        words += (
            " It tells no alpha, so alpha counts as equal to the rank; if an adapter_config.json "
            "came with it, add the two together."
        )
    if report.extras:
        words += f" Not used is what it carries beside: {', '.join(report.extras[:5])}."
    return words


def unsupported(kind: Kind) -> str:
    """Why adapters of a kind are refused, as a sentence."""
    what = KIND_TITLES[kind]
    article = "an" if what[0] in "AEIO(" else "a"
    return (
        f"This is {article} {what}, which cannot be mixed into a batch like a LoRA; "
        "look for a LoRA, LoCon, LoHa, LoKr or DoRA of the same subject."
    )


def _mismatch(report: AdapterReport, spec: ModelSpec, found: Fit, *, same_family: bool) -> str:
    title = FAMILY_TITLES[report.family]
    if title and not same_family:
        article = "an" if title == "SDXL" else "a"
        return f"This is {article} {title} LoRA; the model is {spec.title}."
    if report.base and not same_family:
        return f"This LoRA was made for {report.base}; nothing of it applies to {spec.title}."
    return f"Nothing of this LoRA applies to {spec.title}: {_most(found)}."


def _most(found: Fit) -> str:
    """The most common reason why keys do not apply."""
    reasons: Counter[str] = Counter()
    for _, reason, keys in found.left_out:
        reasons[reason] += keys
    return reasons.most_common(1)[0][0]


def _partly(found: Fit, spec: ModelSpec) -> str:
    return (
        f"Only {_percent(found.share)} of it applies to {spec.title}; of the rest most is: "
        f"{_most(found)}."
    )


def _percent(share: float) -> str:
    value = 100 * share
    return f"{value:.1f} %" if value < 1 or value > 99 else f"{value:.0f} %"


def _left_out(found: Fit) -> tuple[tuple[str, str], ...]:
    return tuple((name, why) for name, why, _ in found.left_out[:LEFT_OUT_MAX])
