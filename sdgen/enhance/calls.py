"""Runs questions to chat services beside everything else: at most two at once, each within a total
deadline that holds whatever a server or a name lookup does."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

from sdgen.enhance.service import Service
from sdgen.enhance.trouble import ServiceTrouble

AT_ONCE = 2
TICK = 0.1  # seconds between two looks at what has come
CLOSE_SECONDS = 2.0

Hear = Callable[[str], None]


class Ask(Protocol):
    """The seam to sdgen.enhance.chat.ask."""

    def __call__(
        self, service: Service, system: str, user: str, hear: Hear
    ) -> Coroutine[Any, Any, str]: ...


class Calls:
    """The thread in which all questions run, and the count of them. Thread-safe."""

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Import what a question needs; once a process, and not on a server's time."""
        if self._ask is None:
            from sdgen.enhance import chat

            chat.prepare()
            self._ask = chat.ask

    def call(
        self,
        service: Service,
        system: str,
        user: str,
        deadline: float,
        on_text: Callable[[str], None] | None = None,
    ) -> str:
        """The raw answer. Raises ServiceTrouble, and GivenUp where `on_text` does.

        deadline: on time.monotonic(). on_text: is called every TICK with all that has come so far.
        """
        if not self._slots.acquire(timeout=max(0.0, min(1.0, deadline - time.monotonic()))):
            raise ServiceTrouble("busy")
        heard: list[str] = []
        future: Future[str] | None = None
        try:
            self.prepare()
            future = self._start(self._question(service, system, user, heard.append))
            return self._wait(future, heard, deadline, on_text)
        finally:
            if future is None:
                self._slots.release()
            else:
                future.cancel()

    async def _question(self, service: Service, system: str, user: str, hear: Hear) -> str:
        """The question itself; its place is free when it has really ended."""
        assert self._ask is not None  # prepare() was here
        try:
            return await self._ask(service, system, user, hear)
        finally:
            self._slots.release()

    def _wait(
        self,
        future: "Future[str]",
        heard: list[str],
        deadline: float,
        on_text: Callable[[str], None] | None,
    ) -> str:
        while True:
            left = deadline - time.monotonic()
            try:
                answer = future.result(timeout=max(0.0, min(TICK, left)))
            except TimeoutError:
                if left <= TICK:
                    raise ServiceTrouble("late") from None
                answer = None
            except CancelledError:
                raise ServiceTrouble("late") from None
            if on_text is not None:
                on_text("".join(heard))
            if answer is not None:
                return answer

    def _start(self, question: Coroutine[Any, Any, str]) -> "Future[str]":
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="enhance", daemon=True
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(question, self._loop)

    def close(self) -> None:
        """Give up what still runs. Idempotent."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        ended = asyncio.run_coroutine_threadsafe(_cancel_all(), loop)
        try:
            ended.result(CLOSE_SECONDS)
        except TimeoutError:
            return  # a library does not let go; the thread ends with the process
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSE_SECONDS)
        if not thread.is_alive():
            loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
