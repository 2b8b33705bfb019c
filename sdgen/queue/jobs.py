"""The queue: every job is a row of the history before anything runs, and has exactly one end.

submit -> row "waiting" -> its turn -> row "running" -> pictures, each with its row -> the end

After a restart, however the app went, waiting jobs wait again in their order and running ones
start again; pictures that they have already are kept and not drawn twice.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from sdgen.config import Settings
from sdgen.errors import GenerationFailed, QueueFull, SdgenError, ShuttingDown, StorageFailed
from sdgen.grid import cells
from sdgen.history import History, JobRow, JobState, Leave
from sdgen.job import EngineStatus, Failed, Job
from sdgen.logs import job_event
from sdgen.owners import ANYONE, Visitor
from sdgen.queue.ends import Ends
from sdgen.queue.entries import Entry, order_of, rows_of, seen_by, work_of
from sdgen.queue.grid_run import run_of
from sdgen.queue.limits import HOUR, Limits, disk_state
from sdgen.queue.order import Waiting, in_turn, moved, next_to_start
from sdgen.queue.run import End, PicturesRun, Tools, state_of
from sdgen.queue.views import JobTold, Order, QueueView
from sdgen.queue.watchers import Watchers

log = logging.getLogger(__name__)

TICK = 1.0  # seconds; how often the thread looks for watchers that left and ends to write again
SERVED = 1000  # people whose last turn is remembered
RESTARTED = "The app was restarted before it was done, and its caller was gone."
GOES_ON = "The app is being restarted; this goes on afterwards."
UNREADABLE = "It was asked for with another version of sdgen, whose request cannot be read here."


class JobQueue:
    """Jobs in, in turn to the engine, and to their ends. Thread-safe.

    Its thread starts with `open`. Everything in memory is guarded by one lock; the history is
    written under it, so that order in memory and on disk are one.
    """

    def __init__(
        self,
        settings: Settings,
        history: History,
        tools: Tools,
        status: Callable[[], EngineStatus],
        *,
        public: bool,
        ended: Callable[[JobState, SdgenError | None], None] = lambda state, error: None,
        problem: Callable[[], str] = str,
    ) -> None:
        """public: strangers come. ended: is told each job's end, for the operator's figures.

        problem: why nothing can be kept now; then nothing is taken in, and what waits, waits.
        """
        self._problem = problem
        self._settings, self._history, self._tools = settings, history, tools
        self._status, self._ended = status, ended
        self._limits = Limits.of(settings, public=public)
        stops = settings.when_left == "stop" or (settings.when_left == "auto" and public)
        self._leave: Leave = "watched" if stops else "keep"
        self._changed = threading.Condition()
        self._entries: dict[str, Entry] = {}
        self._paused: frozenset[str] = frozenset()
        self._served: dict[str, float] = {}  # when a person's job started last, by `turns`
        self._watchers = Watchers()
        self._ends = Ends(history)
        self._followers: set[threading.Thread] = set()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.last_run_ok: bool | None = None  # None: nothing has run yet

    # --- opening and closing

    def open(self) -> None:
        """Take up what an earlier run of the app left, and begin. Raises StorageFailed."""
        with self._changed:
            if self._thread is not None:
                return
            self._paused = self._history.paused()
            for row in self._history.unfinished():
                self._take_up(row)
            self._thread = threading.Thread(target=self._work, name="sdgen-queue", daemon=True)
            self._thread.start()

    def write_again(self) -> None:
        """Have a row of each job that has not ended, where the history was begun anew.

        Raises StorageFailed.
        """
        with self._changed:
            self._history.add_jobs([entry.row for entry in self._entries.values()])
            self._changed.notify_all()

    @property
    def alive(self) -> bool:
        """True while its thread works."""
        return self._thread is not None and self._thread.is_alive()

    def drain(self) -> None:
        """Take nothing new and start nothing more; what the engine stops now waits again."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self, grace: float) -> None:
        """drain(), and wait up to `grace` seconds for what is being written."""
        self.drain()
        deadline = time.monotonic() + grace
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        for thread in list(self._followers):
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            entries, self._entries = self._entries, {}
        for entry in entries.values():
            said = RESTARTED if entry.row.leave == "call" else GOES_ON
            entry.job.publish(Failed(GenerationFailed(said)))

    # --- asking

    def submit(
        self,
        orders: Sequence[Order],
        visitor: Visitor,
        leave: Leave | None = None,
        *,
        side_by_side: bool = False,
    ) -> list[Job]:
        """Take in orders, all or none; once this returns they are on disk.

        leave: what happens when nobody watches; None: as the settings say. side_by_side: they
        are shown together. Raises QueueFull, TooMuch, StorageFailed, ShuttingDown, InvalidRequest
        for a cell of a grid, and what preparing their requests raises.
        """
        for order in orders:
            self._tools.prepare(order.request)
            if order.grid is not None:
                cells(order.request, order.grid)
        if self._problem():
            self._history.recover()  # there may be room by now
        disk_state(self._settings).check()
        now = time.time()
        with self._changed:
            if self._closing:
                raise ShuttingDown
            self._check_limits(orders, visitor, now)
            place = max(
                (e.row.place for e in self._entries.values() if e.turns == visitor.turns),
                default=0.0,
            )
            rows = rows_of(
                orders,
                visitor,
                after=place,
                leave=leave or self._leave,
                created=now,
                side_by_side=side_by_side,
            )
            try:
                self._history.add_jobs(rows)
            except StorageFailed as error:  # they may be on disk all the same; they end there
                self._ends.add_failed(rows, orders, str(error))
                raise
            jobs = [
                self._enter(row, order, visitor.turns).job
                for row, order in zip(rows, orders, strict=True)
            ]
            self._watchers.expect(visitor.owner)
            self._tell_places()
            self._changed.notify_all()
        for job in jobs:
            job_event(job.id, "accepted", prompt=job.request.prompt)
        self._watchers.wake_all()
        return jobs

    def _check_limits(self, orders: Sequence[Order], visitor: Visitor, now: float) -> None:
        if len(self._entries) + len(orders) > self._settings.max_queue:
            raise QueueFull(len(self._entries))
        mine = sum(entry.row.payer == visitor.payer for entry in self._entries.values())
        done = 0.0
        if self._limits.work:
            done = self._history.work_since(visitor.payer, now - HOUR)
        self._limits.check(len(orders), mine, sum(map(work_of, orders)), done)

    def cancel(self, job_id: str) -> bool:
        """Stop a job within one step; False where it has its end already."""
        with self._changed:
            entry = self._entries.get(job_id)
        if entry is None:
            return False
        entry.job.cancel()
        return True

    def cancel_waiting(self, owner: str) -> int:
        """Cancel all jobs of an owner that have not started; how many. Of ANYONE, none."""
        with self._changed:
            ids = [entry.row.id for entry in self._waiting_of(owner)]
        return sum(map(self.cancel, ids))

    def move(self, job_id: str, owner: str, by: int) -> bool:
        """Let a waiting job change places with the owner's next one: -1 earlier, +1 later."""
        with self._changed:
            mine = self._waiting_of(owner)
            places = moved([entry.waiting() for entry in mine], job_id, by)
            if not places:
                return False
            self._history.place_jobs(places)
            for entry in mine:
                entry.row = replace(entry.row, place=places[entry.row.id])
            self._tell_places()
            self._changed.notify_all()
        self._watchers.wake_all()
        return True

    def pause(self, owner: str, paused: bool) -> None:
        """Start none of an owner's waiting jobs until this is called with False.

        Programs without a token share no queue, so for them it does nothing.
        """
        if owner == ANYONE:
            return
        with self._changed:
            self._history.set_paused(owner, paused)
            self._paused = self._paused | {owner} if paused else self._paused - {owner}
            self._tell_places()
            self._changed.notify_all()
        self._watchers.wake_all()

    # --- watching

    def view(self, owner: str) -> QueueView:
        """What of an owner's has not ended."""
        with self._changed:
            running = [entry for entry in self._entries.values() if entry.run]
            waiting = [self._entries[job.id] for job in self._in_turn()]
            return QueueView(seen_by(owner, running, waiting), owner in self._paused)

    def shown(self, owner: str) -> tuple[Job, ...]:
        """Running jobs of an owner and those that ended lately, oldest first. Of ANYONE, none.

        Jobs whose pictures are not kept have nothing to show.
        """
        if owner == ANYONE:
            return ()
        with self._changed:
            mine = [e for e in self._entries.values() if e.row.owner == owner and e.run]
            running = [entry.job for entry in mine if entry.order.kept]
        return (*self._watchers.ended_lately(owner), *running)

    def watching(self, owner: str, wake: Callable[[], None]) -> AbstractContextManager[None]:
        """Be a watcher; `wake` is called, from any thread, when the owner's queue changed."""
        return self._watchers.watching(owner, wake)

    def told(self, job_id: str, visitor: Visitor) -> JobTold | None:
        """A job of the visitor's, or one of nobody's whose id he knows; None for all others."""
        row = self._history.job(job_id)
        if row is None or row.owner not in (visitor.owner, ANYONE):
            return None
        queued = next((job for job in self.view(row.owner).jobs if job.id == job_id), None)
        return JobTold(row, queued, tuple(self._history.pictures_of_job(job_id)))

    def job(self, job_id: str) -> Job | None:
        """The job of that id while it has not ended."""
        with self._changed:
            entry = self._entries.get(job_id)
        return entry.job if entry else None

    @property
    def counts(self) -> tuple[int, int]:
        """(waiting, running) jobs."""
        with self._changed:
            running = sum(entry.run is not None for entry in self._entries.values())
            return len(self._entries) - running, running

    # --- inside; with the lock held

    def _take_up(self, row: JobRow) -> None:
        order, now = order_of(row), time.time()
        forget = order is None or order.request.leave_out_prompt
        if row.leave == "call":
            self._history.end_job(row.id, "stopped", now, RESTARTED, forget_words=forget)
        elif order is None:  # nor can it be read whether its words were to be kept
            self._history.end_job(row.id, "refused", now, UNREADABLE, forget_words=True)
        else:
            if row.state == "running":
                self._history.wait_again(row.id)
            visitor = Visitor(row.owner, row.payer)
            self._enter(replace(row, state="waiting"), order, visitor.turns)
            self._watchers.expect(row.owner)
            job_event(row.id, "taken up again", prompt=order.request.prompt)

    def _enter(self, row: JobRow, order: Order, turns: str) -> Entry:
        job = Job(
            order.request,
            on_cancel=lambda: self._cancelled(row.id),
            job_id=row.id,
            group=row.group,
            label=row.label,
            grid=order.grid,
        )
        job.created = row.created
        entry = self._entries[row.id] = Entry(row, order, job, turns)
        job.listen(lambda: self._watchers.wake(row.owner))
        return entry

    def _waiting_of(self, owner: str) -> list[Entry]:
        if owner == ANYONE:  # many people, each with his own jobs
            return []
        return [e for e in self._entries.values() if e.row.owner == owner and not e.run]

    def _in_turn(self) -> list[Waiting]:
        waiting = [entry.waiting() for entry in self._entries.values() if not entry.run]
        return in_turn(waiting, self._served, self._paused)

    def _running(self) -> Counter[str]:
        return Counter(entry.turns for entry in self._entries.values() if entry.run)

    def _tell_places(self) -> None:
        for ahead, job in enumerate(self._in_turn()):
            self._entries[job.id].tell(ahead)

    # --- inside; without the lock

    def _cancelled(self, job_id: str) -> None:
        """Somebody asked to stop it: if it waits, it ends here."""
        with self._changed:
            entry = self._entries.get(job_id)
            run = entry.run if entry else None
            if entry is not None and run is None:
                self._end(entry, End("stopped"))
        if run is not None:
            run.cancel()

    # --- the thread

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._closing:
                    return
                entry = self._next()
                if entry is None:
                    self._changed.wait(TICK)
                    entry = None if self._closing else self._next()
            if entry is not None:
                self._start(entry)
            self._stop_unwatched()
            with self._changed:
                self._ends.write()

    def _next(self) -> Entry | None:
        waiting = [entry.waiting() for entry in self._entries.values() if not entry.run]
        if not waiting or self._problem():
            return None
        found = next_to_start(
            waiting,
            self._running(),
            {entry.row.group for entry in self._entries.values() if entry.run},
            self._paused,
            self._served,
            max_running=self._settings.max_running,
            room=self._status().room,
        )
        return self._entries[found.id] if found else None

    def _start(self, entry: Entry) -> None:
        """Hand a job to the engine, and have a thread of its own follow it."""
        order, row = entry.order, entry.row
        try:
            run = run_of(order, entry.job, row, self._tools)
            with self._changed:
                if self._closing or row.id not in self._entries:
                    return
                row = entry.row  # as it is now: it may have been moved meanwhile
                self._history.start_job(row.id, time.time())
                entry.run = run
                entry.row = replace(row, state="running", attempts=row.attempts + 1)
                self._served.pop(entry.turns, None)
                self._served[entry.turns] = time.monotonic()
                if len(self._served) > SERVED:
                    del self._served[next(iter(self._served))]
            run.begin()
        except (QueueFull, StorageFailed) as error:
            # The engine has work that did not come from here, or the data folder is away; a tick
            # later, again.
            with self._changed:
                if isinstance(error, StorageFailed) and not self._problem():
                    self._settle(entry, End(state_of(error), error))
                    return
                entry.run, entry.row = None, row
                if entry.job.cancelled:  # its run could not tell anybody yet
                    self._end(entry, End("stopped"))
                else:
                    self._wait_again(row.id)
                    self._changed.wait(TICK / 10)
            return
        except SdgenError as error:
            with self._changed:
                self._settle(entry, End(state_of(error), error))
            return
        job_event(row.id, "started")
        with self._changed:
            self._tell_places()
            thread = threading.Thread(
                target=self._follow, args=(entry, run), name=f"job-{row.id[:8]}", daemon=True
            )
            self._followers.add(thread)
        thread.start()
        self._watchers.wake_all()

    def _follow(self, entry: Entry, run: PicturesRun) -> None:
        end = End("failed", GenerationFailed(f"Something went wrong inside (job {entry.row.id})."))
        try:
            end = run.follow()
        finally:  # whatever happens, a job has its end
            with self._changed:
                self._settle(entry, end)
                self._followers.discard(threading.current_thread())
            self._watchers.wake_all()

    def _settle(self, entry: Entry, end: End) -> None:
        """End a job; one that only the app's own stop ends waits for the restart instead, and one
        whose pictures cannot be kept as the data folder is away, for its return."""
        away = isinstance(end.error, StorageFailed) and self._problem()
        if away and entry.row.leave != "call" and not entry.job.cancelled:
            entry.run, entry.row = None, replace(entry.row, state="waiting")
            self._changed.notify_all()
            return
        interrupted = self._closing and end.state == "stopped" and not entry.job.cancelled
        if interrupted and entry.row.leave != "call":
            self._wait_again(entry.row.id)
            self._entries.pop(entry.row.id, None)
            entry.job.publish(Failed(GenerationFailed(GOES_ON)))
        else:
            self._end(entry, end)

    def _wait_again(self, job_id: str) -> None:
        """The row of a job that was about to run, or ran, waits."""
        try:
            self._history.wait_again(job_id)
        except StorageFailed:
            log.warning("job %s stays marked as running", job_id)  # taken up all the same

    def _end(self, entry: Entry, end: End) -> None:
        """The one end of a job: on disk, then told. With the lock held."""
        if self._entries.pop(entry.row.id, None) is None:
            return
        if entry.run and end.state in ("done", "failed"):
            self.last_run_ok = end.state == "done"
        forget = entry.order.request.leave_out_prompt
        self._ends.add(entry.row.id, end.state, str(end.error or ""), forget_words=forget)
        self._ends.write()
        if entry.order.kept:
            self._watchers.ended(entry.row.owner, entry.job)
        entry.job.publish(end.event)
        self._tell_places()
        self._changed.notify_all()
        self._ended(end.state, end.error)
        job_event(entry.row.id, end.state, seconds=end.seconds, error=end.error)

    def _stop_unwatched(self) -> None:
        """Stop jobs that nobody watches any more, where they are not to go on alone."""
        left = self._watchers.left(self._settings.left_seconds)
        with self._changed:
            entries = [entry for entry in self._entries.values() if entry.row.owner in left]
            for owner in left - {entry.row.owner for entry in entries}:
                self._watchers.forget(owner)
        jobs = [entry.job for entry in entries if entry.row.leave == "watched"]
        for job in jobs:
            job_event(job.id, "is watched by nobody any more")
            job.cancel()
