"""The queue: takes jobs in, keeps them in the history, and hands them to the engine in turn.

order.py: who is next, pure policy. limits.py: what is refused at the door. jobs.py: the queue and
its thread. entries.py: what it holds in memory. ends.py: ends on their way to disk. watchers.py:
who watches. run.py, grid_run.py: one job's way through the engine to its pictures. views.py: what
is asked and told. lock.py: one app for one data folder.
"""

from sdgen.queue.entries import rows_of
from sdgen.queue.grid_run import run_of
from sdgen.queue.jobs import JobQueue
from sdgen.queue.limits import DiskState, disk_state
from sdgen.queue.lock import AppLock
from sdgen.queue.run import End, PicturesRun, Prepared, Tools
from sdgen.queue.views import JobTold, Order, QueuedJob, QueueView

__all__ = [
    "AppLock",
    "DiskState",
    "End",
    "JobQueue",
    "JobTold",
    "Order",
    "PicturesRun",
    "Prepared",
    "QueueView",
    "QueuedJob",
    "Tools",
    "disk_state",
    "rows_of",
    "run_of",
]
