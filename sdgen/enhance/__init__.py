"""Enhance my prompt: a short description becomes a rich one, seen, editable and faithful.

    enhancer = Enhancer(service)                    # chain.py: API -> built-in -> own words
    draft = enhancer.enhance("a red robot", context)

built_in.py and banks.py: rules of our own. api.py: a language model, asked through calls.py and
chat.py with instructions.py, its answer cleaned (cleaning.py). guard.py: what the user said stays.
service.py, keys.py: whom we ask, with which key. limits.py: how often. No torch, no Gradio.
"""

from sdgen.enhance.chain import CHOICES, Choice, Enhancer, own_words
from sdgen.enhance.draft import API, BUILT_IN, OWN_WORDS, Context, Draft, difference
from sdgen.enhance.keys import KeyRing
from sdgen.enhance.service import Service, operators_service, users_service
from sdgen.enhance.trouble import GivenUp

__all__ = [
    "API",
    "BUILT_IN",
    "CHOICES",
    "OWN_WORDS",
    "Choice",
    "Context",
    "Draft",
    "Enhancer",
    "GivenUp",
    "KeyRing",
    "Service",
    "difference",
    "operators_service",
    "own_words",
    "users_service",
]
