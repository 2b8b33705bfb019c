"""The sampler menu in words: our names, their titles, and what other tools call them. No torch.

Other programs say a sampler and a schedule (how the noise levels are spaced), in two fields or in
one: "DPM++ 2M" and "Karras", "dpmpp_2m_k", "k_dpmpp_2m_ka". Spellings are those of AUTOMATIC1111
(titles and aliases), ComfyUI and SwarmUI, InvokeAI, NovelAI, Fooocus, Easy Diffusion (sdkit),
Draw Things, Stability's API, SD.Next and diffusers' class names.
"""

import re
from types import MappingProxyType
from typing import NamedTuple

from sdgen.request import SAMPLERS, Sampler

SAMPLER_TITLES: dict[Sampler, str] = {  # as AUTOMATIC1111 writes them into a picture's recipe
    "euler": "Euler",
    "euler_a": "Euler a",
    "ddim": "DDIM",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "unipc": "UniPC",
    "lcm": "LCM",
}
NAME_CHARS = 200  # characters of a sampler's name that are looked at


class NamedSampler(NamedTuple):
    """What another program's words for a sampler mean here."""

    name: str  # ours where we have it, else the other program's words
    note: str  # what of its words was read loosely; "" for nothing


_OTHER_NAMES: MappingProxyType[str, Sampler] = MappingProxyType(
    {  # spellings of other tools, squeezed as by _squeezed and without their schedule
        "eulerancestral": "euler_a",
        "eulerdiscrete": "euler",
        "eulerancestraldiscrete": "euler_a",
        "ddimv3": "ddim",  # NovelAI
        "dpmsolvermultistep": "dpmpp_2m",
        "dpmsolverpp": "dpmpp_2m",
        "dpmsolverpp2m": "dpmpp_2m",
        "dpmpp2": "dpmpp_2m",  # InvokeAI 2: k_dpmpp_2
        "dpm2m": "dpmpp_2m",  # "DPM++ 2M" without its signs
        "unipcmultistep": "unipc",
        "unipcbh2": "unipc",  # ComfyUI; the solver type that diffusers takes
        "unipctu": "unipc",  # Easy Diffusion: B2, second order, uniform times
    }
)
_KNOWN: MappingProxyType[str, Sampler] = MappingProxyType(
    {name.replace("_", ""): name for name in SAMPLERS if name != "dpmpp_2m_karras"}
    | dict(_OTHER_NAMES)
)
# Schedules by their squeezed names. Plain: the model's own noise levels, evenly in time.
_PLAIN = frozenset({"", "uniform", "normal", "native", "discrete", "none", "model"})
_OWN = frozenset({"automatic", "auto", "default", "usesamescheduler", "usesameschedule"})
# Even in time as well, but beginning or ending elsewhere than "normal" does; which of them a model
# wants is in its own scheduler settings, and those are what is drawn with.
_NEARLY_PLAIN = frozenset({"simple", "sgmuniform", "ddimuniform", "ddim", "trailing", "leading"})
_KARRAS = frozenset({"karras", "ka", "k"})
_OTHERS = frozenset(
    {"exponential", "exp", "polyexponential", "beta", "beta57", "turbo", "alignyoursteps", "ays"}
    | {"alignyourstepsgits", "alignyoursteps11", "alignyoursteps32", "gits", "kloptimal"}
    | {"linearquadratic", "cosine", "lcm", "tcd", "vp", "laplace", "bongtangent"}
    | {"edmplaygroundv25", "flowmatch", "substep"}
)
_SUFFIXES = _KARRAS | _OTHERS | _NEARLY_PLAIN | {"automatic", "normal", "uniform", "native"}


def sampler_title(name: Sampler) -> str:
    """The menu's word for a sampler, e.g. "DPM++ 2M Karras" for dpmpp_2m_karras."""
    return SAMPLER_TITLES[name]


def sampler_from_title(title: str) -> Sampler | None:
    """The sampler that a title of ours or of another tool means, or None where we have none.

    title: "DPM++ 2M Karras", "Euler a", "k_dpmpp_2m", "EulerDiscreteScheduler" ...; case, spaces
    and punctuation do not matter.
    """
    name = sampler_from_names(title).name
    return next((ours for ours in SAMPLERS if ours == name), None)


def sampler_from_names(title: str, schedule: str = "") -> NamedSampler:
    """Our name for another program's sampler and schedule, else its own words.

    schedule: "" where it is part of the title. A1111's "Automatic" is the sampler's own default:
    Karras for DPM++ 2M, the model's own noise levels for the rest.
    """
    title, schedule = title[:NAME_CHARS].strip(), schedule[:NAME_CHARS].strip()
    bare, in_title = _parted(title)
    base = _KNOWN.get(bare)
    said = _squeezed(schedule)
    if base == "dpmpp_2m" and (said or in_title) in _OWN:
        said = in_title = "karras"
    both = {_spelled(word) for word in (said, in_title)} - _PLAIN - _OWN
    if base is None or len(both) > 1:
        return NamedSampler(_joined(title, schedule, in_title), "")
    wanted = next(iter(both), "")
    if base == "dpmpp_2m" and wanted == "karras":
        return NamedSampler("dpmpp_2m_karras", "")
    if wanted in _NEARLY_PLAIN or (base == "lcm" and wanted == "lcm"):
        words = schedule or in_title
        note = f"The schedule “{words}” was read as the model's own spacing of the steps."
        return NamedSampler(base, "" if base == wanted else note)
    if wanted == "karras":
        return NamedSampler(f"{SAMPLER_TITLES[base]} Karras", "")
    if wanted:
        return NamedSampler(f"{SAMPLER_TITLES[base]} {schedule}" if said else title, "")
    return NamedSampler(base, "")


def _parted(title: str) -> tuple[str, str]:
    """A sampler's squeezed name and the schedule that its title ends with; "" for none."""
    words = [word for word in re.split(r"[^a-z0-9]+", _signs(title)) if word]
    while len(words) > 1 and words[0] in ("k", "sample"):  # k_euler; k-diffusion's sample_euler
        del words[0]
    schedule = ""
    while (bare := _bare("".join(words))) not in _KNOWN:
        counts = range(min(3, len(words) - 1), 0, -1)  # words: "align your steps", "karras"
        endings = ((count, "".join(words[-count:])) for count in counts)
        count, ending = next((each for each in endings if each[1] in _SUFFIXES), (0, ""))
        if not count or (schedule and _spelled(schedule) != _spelled(ending)):
            glued = _bare(bare.removesuffix("karras"))  # DPMSolverMultistepSchedulerKarras
            return (glued, "karras") if glued in _KNOWN else (bare, schedule)
        words, schedule = words[:-count], ending
    return bare, schedule


def _bare(squeezed: str) -> str:
    return squeezed.removesuffix("scheduler").removesuffix("sampler")


def _spelled(schedule: str) -> str:
    return "karras" if schedule in _KARRAS else schedule


def _joined(title: str, schedule: str, in_title: str) -> str:
    """The other program's words, the schedule once."""
    said = _squeezed(schedule)
    if said in _PLAIN or said in _OWN or _spelled(said) == _spelled(in_title):
        return title
    return f"{title} {schedule}"


def _signs(text: str) -> str:
    return text.lower().replace("++", "pp")


def _squeezed(text: str) -> str:
    """Lower case, letters and digits only, "++" kept as "pp"."""
    return re.sub(r"[^a-z0-9]", "", _signs(text))
