"""The settings line of AUTOMATIC1111's kind of text: found wherever it stands, and taken apart.

    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x768, Model: "a, b"

A1111 writes it last and splits it at commas (modules/infotext_utils.py). Others put lines behind
it, split at "|", put it on the same line as the prompt, or leave JSON in it unquoted.
"""

import itertools
import json
import re
from typing import NamedTuple

SETTINGS_CHARS = 64_000  # characters of a settings line that are looked at
LINES_MAX = 5_000  # lines that are looked at, from the end
PAIRS_MAX = 300  # settings of a line
_ENOUGH = 3  # A1111 takes a line with as many for the settings
_TRIES = 4  # places in one line at which the settings may begin
# Keys by which a settings line is known; of others any number may stand beside them.
_CORE = frozenset(
    {"steps", "sampler", "seed", "cfg scale", "cfg", "size", "model", "model hash", "clip skip"}
    | {"schedule type", "scheduler", "version", "guidance scale", "width", "height", "vae"}
    | {"negative prompt", "stable diffusion model"}
)
_NUMBERS = {"steps", "seed", "cfg scale", "cfg", "size", "clip skip", "guidance scale", "width"}
_AROUND = _CORE | {"pipeline", "operations", "parser", "backend", "app", "denoising strength"}
_KEY = re.compile(r"[^\W_][\w \-/.()+]{0,60}+:(?!//)")
_NEXT = re.compile(r"(?:[,|;]|\.(?=\s))\s{0,50}+(?=[^\W_][\w \-/.()+]{0,60}+:)")
_QUOTED = re.compile(r'"(?:[^\\"]|\\.)*+"')
# Within a line, settings begin at one of these.
_BEGIN = re.compile(
    r"(?<!\w)(?:steps:\s{0,5}\d|seed:\s{0,5}-?\d|size:\s{0,5}\d+x\d|cfg scale:)", re.IGNORECASE
)
_DECODER = json.JSONDecoder(parse_int=float)  # only where it ends counts


class Parted(NamedTuple):
    """A text in three parts. settings: key to value, as written, quotes undone."""

    before: str
    settings: dict[str, str]
    behind: tuple[str, ...]  # lines behind the settings
    one_line: bool = False  # the settings stood on a line with what is before them


def part_text(text: str) -> Parted:
    """A text's settings and what stands around them; without settings all is before."""
    lines = text.split("\n")
    first = max(0, len(lines) - LINES_MAX)
    for at in range(len(lines) - 1, first - 1, -1):
        settings = _settings_at_start(lines[at])
        if settings:
            return _around(lines, at, settings)
    for at in range(len(lines) - 1, first - 1, -1):
        for begin in itertools.islice(_BEGIN.finditer(lines[at][:SETTINGS_CHARS]), _TRIES):
            settings = _settings_at_start(lines[at][begin.start() :])
            if settings:
                before = "\n".join([*lines[:at], lines[at][: begin.start()]])
                return Parted(before, settings, tuple(lines[at + 1 :]), one_line=True)
    return _by_lines(lines, first) or Parted(text, {}, ())


def pairs_of(line: str) -> dict[str, str]:
    """The settings of a line that begins with one; the first of each key."""
    line = line[:SETTINGS_CHARS].strip()
    found: dict[str, str] = {}
    at = 0
    for _ in range(PAIRS_MAX):
        key = _KEY.match(line, at)
        if key is None:
            break
        value, at = _value(line, key.end())
        found.setdefault(key[0][:-1].strip(), value)
    return found


def _value(line: str, start: int) -> tuple[str, int]:
    """The value that begins at `start`, and where the next key does."""
    while line[start : start + 1].isspace():
        start += 1
    end = start
    first = line[start : start + 1]
    if first == '"' and (quoted := _QUOTED.match(line, start)):
        end = quoted.end()
    elif first in ("{", "["):
        try:
            _, end = _DECODER.raw_decode(line, start)
        except (ValueError, RecursionError):
            end = start
    separator = _NEXT.search(line, end)
    stop = separator.start() if separator else len(line)
    value = line[start:stop].rstrip()
    if separator is None:  # a line may end in what separates
        return unquoted(value.rstrip(" ,|;")), len(line)
    return unquoted(value), separator.end()


def unquoted(text: str) -> str:
    """A value without the quotes that A1111 puts around one with commas."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


def _settings_at_start(line: str) -> dict[str, str]:
    """The settings of a line of them; {} where it is none."""
    first = _KEY.match(line.lstrip())
    if first is None or first[0][:-1].strip().lower() not in _AROUND - {"negative prompt"}:
        return {}
    found = pairs_of(line)
    known = {key.lower(): value for key, value in found.items() if key.lower() in _CORE}
    numbers = any(value[:1].isdigit() for key, value in known.items() if key in _NUMBERS)
    return found if len(found) >= _ENOUGH and len(known) >= 2 and numbers else {}


def _around(lines: list[str], at: int, settings: dict[str, str]) -> Parted:
    """With the lines of settings right before the one at `at`, and those that go on behind it."""
    begin, end = at, at + 1
    if not settings.get("Version", "").startswith("sdgen "):
        while begin > 1 and _all_known(more := pairs_of(lines[begin - 1])):
            settings = more | settings
            begin -= 1
        while end < len(lines) and _all_known(more := pairs_of(lines[end])):
            settings = more | settings
            end += 1
    return Parted("\n".join(lines[:begin]), settings, tuple(lines[end:]))


def _all_known(pairs: dict[str, str]) -> bool:
    """True for the settings of a line that holds nothing else: no words of a prompt."""
    names = {key.lower() for key in pairs}
    return len(pairs) >= 2 and names <= _AROUND - {"negative prompt"}


def _by_lines(lines: list[str], first: int) -> Parted | None:
    """A text with each setting on a line of its own, the longest run of them that is last."""
    end = len(lines)
    while end > first:
        begin = end
        while begin > first and _is_setting(lines[begin - 1]):
            begin -= 1
        if end - begin >= _ENOUGH:
            settings = dict(part.split(":", 1) for part in lines[begin:end] if ":" in part)
            cleaned = {key.strip(): unquoted(value.strip()) for key, value in settings.items()}
            return Parted("\n".join(lines[:begin]), cleaned, tuple(lines[end:]))
        end = min(begin, end - 1)
    return None


def _is_setting(line: str) -> bool:
    key, colon, _ = line.partition(":")
    return bool(colon) and key.strip().lower() in _CORE - {"negative prompt"}
