"""Words and bars on the terminal. They go to stderr, so that stdout is for results alone."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from sdgen.job import Event, Loading, Note, Queued
from sdgen.job import Progress as Steps
from sdgen.letters import JOINERS

_PLAIN_EVERY = 2.0  # seconds between lines where there is no terminal to draw a bar on


class Reporter(Protocol):
    """Says how far something is and what came of it: with a bar, in lines, or (quiet) not."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def say(self, text: str) -> None:
        """A sentence that stays."""

    def result(self, text: str) -> None:
        """A line of the result, for stdout."""

    def step(self, label: str, done: int, total: int) -> None:
        """How much is done; a total of 0 is not known."""


class Bar:
    """A progress bar that goes away when it is done."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # results must not end up in stderr
            redirect_stderr=False,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def result(self, text: str) -> None:
        if sys.stdout.isatty():
            self.say(text)  # the same screen: a line above the bar, not in it
        else:
            _print_result(text)

    def step(self, label: str, done: int, total: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task(label, total=None)
        self._progress.update(self._task, description=label, completed=done, total=total or None)


class Lines:
    """A line now and then, for logs and pipes."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._last = float("-inf")
        self._label = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, text: str) -> None:
        if not self._quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def result(self, text: str) -> None:
        if not self._quiet:
            _print_result(text)

    def step(self, label: str, done: int, total: int) -> None:
        now = time.monotonic()
        if label == self._label and now - self._last < _PLAIN_EVERY and done != total:
            return
        self._last, self._label = now, label
        self.say(f"{label} {done}/{total}" if total else label)


def reporter(quiet: bool = False) -> Reporter:
    """The right one for where stderr goes; quiet: says nothing."""
    if quiet:
        return Lines(quiet=True)
    return Bar() if sys.stderr.isatty() else Lines()


def report(event: Event, to: Reporter) -> None:
    """Tell an event of a job, where it is one to tell."""
    match event:
        case Queued(ahead) if ahead:
            to.step(f"Waiting behind {ahead}", 0, 0)
        case Loading(model):
            to.step(f"Loading {model}", 0, 0)
        case Steps(step, steps):
            to.step("Drawing", step, steps)
        case Note(text):
            to.say(text)


def _print_result(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def plain(text: str) -> str:
    """Text of others without control characters, which could take over the terminal."""
    kept = "\n\t" + JOINERS
    return "".join(char if char.isprintable() or char in kept else "\ufffd" for char in text)
