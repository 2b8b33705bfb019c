"""A job's events for handlers that wait without a thread, and jobs that end with their caller."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from anyio import CapacityLimiter, to_thread

from sdgen.job import Event, Failed, Finished, Heartbeat, Job, Stopped


async def events(job: Job, heartbeat: float) -> AsyncIterator[Event]:
    """All events so far, then each as it comes, up to and with the end; as Job.events.

    heartbeat: seconds; when nothing happens that long, a Heartbeat comes instead.
    """
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(news.set)

    stop = job.listen(wake)
    seen = 0
    try:
        while True:
            news.clear()  # before looking, so that what comes meanwhile is not missed
            fresh, seen = job.after(seen)
            for event in fresh:
                yield event
                if isinstance(event, Finished | Stopped | Failed):
                    return
            try:
                async with asyncio.timeout(heartbeat):
                    await news.wait()
            except TimeoutError:
                yield Heartbeat()
    finally:
        stop()


@asynccontextmanager
async def owned(start: Callable[[], Job], limiter: CapacityLimiter) -> AsyncIterator[Job]:
    """The job that `start` makes, in a thread; it is cancelled where the block is left early.

    Also where that happens while `start` is at work: a caller may go at any moment.
    """
    jobs: list[Job] = []
    left = threading.Event()

    def run() -> None:
        jobs.append(start())
        if left.is_set():
            jobs[0].cancel()

    try:
        await to_thread.run_sync(run, limiter=limiter)
        yield jobs[0]
    finally:
        left.set()
        for job in jobs:
            if job.end is None:  # cancelling writes to the disk, for which no loop should wait
                asyncio.get_running_loop().run_in_executor(None, job.cancel)
