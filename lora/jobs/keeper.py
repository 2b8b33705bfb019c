"""Keeps one training process for the app: `python -m lora.jobs.keeper RUN_FOLDER COMMAND...`.

Orders come by standard input, a line each: pause, go, stop. When the input ends, the app is gone,
however it went; then the training is told to stop and keep what is there, so it can be continued
later. How the training process ended is written to RUN/exit.json, and is this process's own exit
code.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lora.jobs.traces import (
    APP,
    NOBODY,
    USER,
    Exit,
    forget_exit,
    lock_run,
    write_exit,
)
from lora.runs import RunFolder

TAKEN = 75  # exit code: another process works on this run
LOCK_SECONDS = 5.0  # somebody may just be looking whether the run is alive
POLL_SECONDS = 0.1
# Seconds from the order to stop until the process is asked by signal, and until it is ended.
PATIENCE = {USER: (60.0, 180.0), APP: (8.0, 25.0)}


class Keeper:
    """One training process and what it was told."""

    def __init__(
        self,
        folder: RunFolder,
        process: "subprocess.Popen[bytes]",
        patience: Mapping[str, tuple[float, float]] = PATIENCE,
    ) -> None:
        self._folder = folder
        self._process = process
        self._patience = patience
        self._lock = threading.Lock()
        self._asked_by = NOBODY  # guarded by _lock, like what follows
        self._deadlines: list[tuple[float, str]] = []  # when, and which signal is sent then

    def follow(self, orders: Iterable[bytes]) -> None:
        """Obey each line; the end of the input means that the app is gone."""
        for line in orders:
            order = line.strip()
            if order == b"pause" and not self._asked_by:
                self._send("SIGSTOP")
            elif order == b"go":
                self._send("SIGCONT")
            elif order == b"stop":
                self.stop(USER)
        self.stop(APP)

    def stop(self, asked_by: str) -> None:
        """Ask the training to stop after its step; wake it if it was paused."""
        with self._lock:
            if self._asked_by in (APP, asked_by):
                return
            self._asked_by = asked_by
            first, last = (time.monotonic() + seconds for seconds in self._patience[asked_by])
            self._deadlines = [(first, "SIGTERM"), (last, "SIGKILL")]
        with contextlib.suppress(OSError):  # a full disk: the signals follow
            self._folder.send("stop")
        self._send("SIGCONT")

    def wait(self) -> Exit:
        """Until the process has ended, with more and more emphasis once it was told to."""
        while True:
            try:
                code = self._process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                self._insist()
                continue
            with self._lock:
                return Exit(code, self._asked_by)

    def _insist(self) -> None:
        with self._lock:
            due = self._asked_by and self._deadlines and time.monotonic() >= self._deadlines[0][0]
            name = self._deadlines.pop(0)[1] if due else ""
        if name:
            self._send(name)

    def _send(self, name: str) -> None:
        """A signal to the training and what it started; nothing where the system has no such."""
        number = getattr(signal, name, None)
        if sys.platform == "win32":
            if name in ("SIGTERM", "SIGKILL"):
                self._process.terminate()
        elif number is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def keep(
    folder: RunFolder,
    command: Sequence[str],
    orders: Iterable[bytes],
    patience: Mapping[str, tuple[float, float]] = PATIENCE,
    on_start: Callable[[Keeper], None] = lambda keeper: None,
) -> int:
    """Run the command until it ends; its exit code."""
    lock = lock_run(folder)
    give_up = time.monotonic() + LOCK_SECONDS
    while lock is None and time.monotonic() < give_up:
        time.sleep(POLL_SECONDS)
        lock = lock_run(folder)
    if lock is None:
        return TAKEN
    forget_exit(folder)
    handles = () if sys.platform == "win32" else (lock.fileno(),)
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=handles,  # so the lock lives as long as the training, even without us
        )
    keeper = Keeper(folder, process, patience)
    on_start(keeper)
    threading.Thread(target=keeper.follow, args=(orders,), daemon=True).start()
    end = keeper.wait()
    write_exit(folder, end)
    lock.close()
    return end.code


def _heed_signals(keeper: Keeper) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # the machine is being shut down
        signal.signal(number, lambda *_: keeper.stop(APP))


def main() -> int:
    path, *command = sys.argv[1:]
    code = keep(RunFolder(Path(path)), command, sys.stdin.buffer, on_start=_heed_signals)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    code = main()
    os._exit(code)  # the thread that reads orders would hold the end
