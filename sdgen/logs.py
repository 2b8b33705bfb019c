"""What goes to the terminal or to the operator's log collector: no keys, and no prompts unasked.

    set_up(settings)         # once, before anything else; all goes to stderr
    adopt_server()           # once the page is served: uvicorn's own lines take the same form
    job_event(job_id, "done", seconds=3.2)

text (the default) is for a person at a terminal: warnings and errors, as "WARNING sdgen.x: ...".
json is for a collector: one object a line, from INFO on, so each job has its lines. The words of
a prompt are in neither; with SDGEN_LOG_PROMPTS they are in both, and text tells of jobs too.
"""

import datetime
import json
import logging
import re
import sys
import threading
from types import TracebackType

from sdgen.config import Settings

log = logging.getLogger(__name__)
jobs = logging.getLogger("sdgen.jobs")

TEXT_FORMAT = "%(levelname)s %(name)s: %(message)s"
# What a line may carry beside its message, given as logging's `extra`, in the order of the object.
EXTRAS = ("job", "state", "seconds", "error", "images", "steps")
REDACTED = "[redacted]"
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


class TextFormatter(logging.Formatter):
    """Lines for a person."""

    def __init__(self, prompts: bool = False) -> None:
        """prompts: tell those of jobs."""
        super().__init__(TEXT_FORMAT)
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        line = redact(super().format(record))
        if prompt := _prompt(record) if self._prompts else "":
            line = f"{line} {json.dumps(redact(prompt), ensure_ascii=False)}"
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, prompts: bool = False) -> None:
        """prompts: tell those of jobs."""
        super().__init__()
        self._prompts = prompts

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name in EXTRAS:
            value = getattr(record, name, None)
            if isinstance(value, str):
                line |= {name: redact(value)} if value else {}
            elif isinstance(value, int | float):
                line[name] = value
        if prompt := _prompt(record) if self._prompts else "":
            line["prompt"] = redact(prompt)
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


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
    logging.captureWarnings(as_json)
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
