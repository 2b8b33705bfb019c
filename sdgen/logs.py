"""What goes to the terminal or to the operator's log collector: no keys, and no prompts unasked.

    set_up(settings)         # once, before anything else; all goes to stderr
    adopt_server()           # once the page is served: uvicorn's own lines take the same form
    job_event(job_id, "done", seconds=3.2)

text (the default) is for a person at a terminal: warnings and errors, as "WARNING sdgen.x: ...".
json is for a collector: one object a line, from INFO on, so each job has its lines. The words of
a prompt are in neither; with SDGEN_LOG_PROMPTS they are in both, and text tells of jobs too.

Libraries quote whatever they stumble over, also what a user wrote. So of their lines only what
stands in their own source is written: where, how grave, which kind of error; never a value.
"""

import datetime
import json
import linecache
import logging
import re
import sys
import threading
import traceback
from pathlib import Path
from types import TracebackType

from sdgen.config import Settings

log = logging.getLogger(__name__)
jobs = logging.getLogger("sdgen.jobs")

TEXT_FORMAT = "%(levelname)s %(name)s: %(message)s"
# What a line may carry beside its message, given as logging's `extra`, in the order of the object.
EXTRAS = ("job", "state", "seconds", "error", "images", "steps")
REDACTED = "[redacted]"
MESSAGE_CHARS, TRACE_CHARS = 2_000, 16_000  # of one line; what is longer is cut in its middle
OURS = ("sdgen", "lora", "tools", "bench")  # whose lines are written as they are
# Some bring handlers of their own, with which their lines would go round these rules.
LIBRARIES = (
    "PIL", "accelerate", "asyncio", "bitsandbytes", "c2pa", "datasets", "diffusers", "gradio",
    "gradio_client", "httpcore", "httpx", "huggingface_hub", "mcp", "openai", "peft",
    "py.warnings", "safetensors", "spaces", "starlette", "tokenizers", "torch", "torchao",
    "torchvision", "transformers", "urllib3", "uvicorn", "uvicorn.access", "uvicorn.error",
)  # fmt: skip
LEFT_OUT = "(its words are left out, as they may be a user's)"
_MARGIN = 1_000  # characters beside a cut in which a key is still looked for
_WARNED = re.compile(r"(?P<file>[^\n]*?):(?P<line>\d+): (?P<kind>\w+): ")  # warnings.formatwarning
_SECRETS = re.compile(
    r"""
    (?P<name>                                               # a value after its name
        \b(?:Bearer|Basic)\s+(?=[\w.~+/=-]{12})
      | \b(?:api[-_]?key|token|password|secret)["']?\s*[=:]\s*["']?
      | [?&]me=                                             # a personal link
      | \baccess-token-[\w-]+=                              # the login's cookie
    )[\w.~+/=-]{6,}
  | \b(?:sk|pk|rk)-[\w-]{6,}                                # OpenAI and those who copy it
  | \b(?:hf|ghp|gho|glpat)[_-][\w-]{6,}                     # Hugging Face, GitHub, GitLab
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str) -> str:
    """The text without what looks like a key, a password or a personal token."""
    return _SECRETS.sub(lambda found: f"{found['name'] or ''}{REDACTED}", text)


def written(text: str, most: int) -> str:
    """The text as it may be in a log: without keys, and of what is too long both ends."""
    cut = len(text) - most
    if cut <= 0:
        return redact(text)
    if cut <= 2 * _MARGIN:
        head = tail = redact(text)
    else:  # a key is looked for beyond the cut too, so that no half of one stays
        head, tail = redact(text[: most // 2 + _MARGIN]), redact(text[-(most // 2 + _MARGIN) :])
    return f"{head[: most // 2]} ... ({cut:,} characters are left out) ... {tail[-(most // 2) :]}"


def is_ours(record: logging.LogRecord) -> bool:
    """True for a line of this program, which says no user's words by itself."""
    return record.name.partition(".")[0] in OURS


def message_of(record: logging.LogRecord) -> str:
    """What a line says, or, of a library's, as much of it as stands in the library's source."""
    if is_ours(record):
        return record.getMessage()
    if record.name == "py.warnings":
        found = _WARNED.match(record.getMessage())
        if found is None:
            return LEFT_OUT
        return f"{found['kind']} at {Path(found['file']).name}:{found['line']} {LEFT_OUT}"
    where = f"at {record.filename}:{record.lineno}"
    template = record.msg if isinstance(record.msg, str) else ""
    if template and _stands_in_source(template, record):
        return f"{template} ({where})"
    return f"{where} {LEFT_OUT}"


def _stands_in_source(template: str, record: logging.LogRecord) -> bool:
    """True where the text is a whole literal of the file that logged it, beside that line."""
    lines = linecache.getlines(record.pathname)
    near = "".join(lines[max(0, record.lineno - 3) : record.lineno + 12])
    return any(f"{quote}{template}{quote}" in near for quote in ("'", '"'))


def trace_of(record: logging.LogRecord) -> str:
    """The traceback of a line; of a library's, no error's own words. "" where it has none."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    if is_ours(record):
        return "".join(traceback.format_exception(*record.exc_info)).rstrip()
    parts: list[str] = []
    error: BaseException | None = record.exc_info[1]
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{frames}{type(error).__name__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\n".join(reversed(parts))


class GatheredLogger(logging.Logger):
    """A logger that, where it is a library's, writes as all others do, whatever that asks of it."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802  # logging's name
        """A library's lines go to the handlers of all, as soon as there are any."""
        if not _is_library(self.name):
            super().addHandler(hdlr)

    @property
    def propagate(self) -> bool:
        """Always, of a library."""
        return _is_library(self.name) or bool(self.__dict__.get("propagate", True))

    @propagate.setter
    def propagate(self, value: bool) -> None:
        """Libraries switch it off where they have handlers of their own."""
        self.__dict__["propagate"] = value


def _is_library(name: str) -> bool:
    return name in LIBRARIES or name.partition(".")[0] in LIBRARIES


def gather() -> None:
    """Have libraries' loggers write like all others: those that are there, and those to come.

    torch gives a dozen of its own loggers handlers as soon as it is imported, long after this.
    """
    logging.setLoggerClass(GatheredLogger)
    for name in (*LIBRARIES, *logging.Logger.manager.loggerDict):
        logger = logging.getLogger(name)
        if _is_library(name):
            logger.handlers.clear()
            if type(logger) is logging.Logger:  # it was there already
                logger.__class__ = GatheredLogger


class TextFormatter(logging.Formatter):
    """Lines for a person."""

    def __init__(self, prompts: bool = False) -> None:
        """prompts: tell those of jobs, and whatever libraries say."""
        super().__init__(TEXT_FORMAT)
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        said, trace = _told(record, self._prompts)
        line = f"{record.levelname} {record.name}: {said}"
        if prompt := _prompt(record) if self._prompts else "":
            quoted = json.dumps(written(prompt, MESSAGE_CHARS), ensure_ascii=False)
            line = f"{line} {quoted}"
        return f"{line}\n{trace}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, prompts: bool = False) -> None:
        """prompts: tell those of jobs, and whatever libraries say."""
        super().__init__()
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        said, trace = _told(record, self._prompts)
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": said,
        }
        for name in EXTRAS:
            value = getattr(record, name, None)
            if isinstance(value, str):
                line |= {name: written(value, MESSAGE_CHARS)} if value else {}
            elif isinstance(value, int | float):
                line[name] = value
        if prompt := _prompt(record) if self._prompts else "":
            line["prompt"] = written(prompt, MESSAGE_CHARS)
        if trace:
            line["exception"] = trace
        return json.dumps(line, ensure_ascii=False)


def _told(record: logging.LogRecord, prompts: bool) -> tuple[str, str]:
    """Message and traceback as they are written. prompts: also users' words."""
    if prompts:
        said = record.getMessage()
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
    else:
        said, trace = message_of(record), trace_of(record)
    return written(said, MESSAGE_CHARS), written(trace, TRACE_CHARS)


def _prompt(record: logging.LogRecord) -> str:
    prompt = getattr(record, "prompt", "")
    return prompt if isinstance(prompt, str) else ""


def set_up(settings: Settings) -> None:
    """Send everything that is logged to stderr, in the form that the settings ask for."""
    as_json = settings.log_format == "json"
    form = JsonFormatter if as_json else TextFormatter
    handler = logging.StreamHandler()
    handler.setFormatter(form(settings.log_prompts))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("sdgen").setLevel(logging.INFO if as_json else logging.NOTSET)
    jobs.setLevel(logging.INFO if as_json or settings.log_prompts else logging.NOTSET)
    logging.captureWarnings(True)
    gather()
    if as_json:  # what nobody caught would be written as it is, over many lines
        sys.excepthook = _log_uncaught
        threading.excepthook = _log_uncaught_in_thread


def adopt_server() -> None:
    """Let uvicorn's loggers write as all others do; it gives them handlers of their own."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def job_event(
    job_id: str,
    state: str,
    *,
    prompt: str = "",
    seconds: float | None = None,
    error: BaseException | None = None,
) -> None:
    """Tell what became of a job: accepted, started, done, stopped, refused, failed.

    prompt: is written only where the settings ask for it. error: its class is told, not its words.
    """
    message = f"job {job_id} {state}"
    told: dict[str, object] = {"job": job_id, "state": state, "prompt": prompt}
    if seconds is not None:
        message += f" after {seconds:.1f} s"
        told["seconds"] = round(seconds, 3)
    if error is not None:
        message += f": {type(error).__name__}"
        told["error"] = type(error).__name__
    jobs.info("%s", message, extra=told)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("nobody caught this", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is None or issubclass(given.exc_type, SystemExit):
        return
    name = given.thread.name if given.thread else "?"
    told = (given.exc_type, given.exc_value, given.exc_traceback)
    log.error("nobody caught this in thread %s", name, exc_info=told)
