"""The sampler menu in words: our names, their titles, and what other tools call them. No torch."""

import re

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

_OTHER_NAMES: dict[str, Sampler] = {  # spellings of other tools, squeezed as by _squeezed
    "eulerancestral": "euler_a",
    "eulerdiscrete": "euler",
    "eulerancestraldiscrete": "euler_a",
    "dpmsolvermultistep": "dpmpp_2m",
    "dpm2m": "dpmpp_2m",  # "DPM++ 2M" without its signs
    "dpm2mkarras": "dpmpp_2m_karras",
    "unipcmultistep": "unipc",
}


def sampler_title(name: Sampler) -> str:
    """The menu's word for a sampler, e.g. "DPM++ 2M Karras" for dpmpp_2m_karras."""
    return SAMPLER_TITLES[name]


def sampler_from_title(title: str) -> Sampler | None:
    """The sampler that a title of ours or of another tool means, or None where we have none.

    title: "DPM++ 2M Karras", "Euler a", "dpmpp_2m", "EulerDiscreteScheduler" ...; case, spaces
    and punctuation do not matter.
    """
    known: dict[str, Sampler] = {_squeezed(name): name for name in SAMPLERS}
    known |= {_squeezed(text): name for name, text in SAMPLER_TITLES.items()} | _OTHER_NAMES
    return known.get(_squeezed(title).removesuffix("scheduler"))


def _squeezed(text: str) -> str:
    """Lower case, letters and digits only, "++" kept as "pp"."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("++", "pp"))
