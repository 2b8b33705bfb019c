"""What is refused at the door: a full queue, more than one person's share, a full disk."""

from dataclasses import dataclass

from sdgen.config import Settings
from sdgen.errors import StorageFailed, TooMuch
from sdgen.gallery import free_bytes

MEGABYTE = 1_000_000  # bytes
HOUR = 3600.0  # seconds
PUBLIC_WAITING = 8  # jobs of one person where strangers come


@dataclass(frozen=True)
class Limits:
    """Of one person. waiting: jobs not ended. work: megapixel-steps in an hour; 0: no limit."""

    waiting: int
    work: float

    @classmethod
    def of(cls, settings: Settings, *, public: bool) -> "Limits":
        """Those of the settings; public: strangers come."""
        usual = min(PUBLIC_WAITING, settings.max_queue) if public else settings.max_queue
        return cls(settings.max_waiting_per_user or usual, settings.max_work_per_hour)

    def check(self, jobs: int, waiting: int, work: float, done: float) -> None:
        """Raises TooMuch where `jobs` more of `work` pass a limit.

        waiting: jobs that the person has already. done: work that was asked for in the last hour.
        """
        if waiting + jobs > self.waiting:
            raise TooMuch(
                f"You have {waiting} jobs in the queue and ask for {jobs} more; at most "
                f"{self.waiting} of one person fit."
            )
        if self.work and done + work > self.work:
            raise TooMuch(
                f"This asks for {work:.1f} megapixel-steps; {max(self.work - done, 0):.1f} of the "
                f"{self.work:g} that one person has in an hour are left. Fewer pictures, fewer "
                "steps or a smaller size would fit, or wait a little."
            )


@dataclass(frozen=True)
class DiskState:
    """How much room is left. sentence: what the page warns of. full: nothing new is taken."""

    free_bytes: int | None  # None: it cannot be told
    full: bool = False
    sentence: str = ""

    def check(self) -> None:
        """Raises StorageFailed where the disk is full."""
        if self.full:
            raise StorageFailed(self.sentence)


def disk_state(settings: Settings) -> DiskState:
    """The room on the data folder's disk; where it cannot be told, nothing is refused."""
    try:
        free = free_bytes(settings.data_dir)
    except OSError:
        return DiskState(None)
    megabytes = free // MEGABYTE
    if megabytes < settings.disk_reserve_mb:
        return DiskState(
            free, full=True,
            sentence=f"The disk has only {megabytes} MB left, so nothing new is drawn until some "
            f"is freed (at least {settings.disk_reserve_mb} MB must be left).",
        )  # fmt: skip
    if megabytes < settings.disk_warn_mb:
        return DiskState(
            free,
            sentence=f"The disk has only {megabytes} MB left. Below {settings.disk_reserve_mb} MB "
            "nothing new is drawn.",
        )  # fmt: skip
    return DiskState(free)
