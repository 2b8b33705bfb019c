"""What is written down about a job and about a picture: one frozen value a row."""

from dataclasses import dataclass
from typing import Literal

JobState = Literal["waiting", "running", "done", "stopped", "refused", "failed"]
Leave = Literal["keep", "watched", "call"]
PictureKind = Literal["picture", "sheet"]


@dataclass(frozen=True)
class JobRow:
    """One accepted request, from before it runs until after its end. Times: epoch seconds."""

    id: str
    owner: str
    payer: str
    state: JobState
    place: float  # order among the owner's waiting jobs
    # keep: goes on alone. watched: ends some time after its last watcher. call: with its call.
    leave: Leave
    request: str  # GenerateRequest as JSON
    created: float
    enhancement: str = ""  # JSON
    grid: str = ""  # JSON
    group: str = ""  # jobs that are shown side by side share one
    label: str = ""
    started: float | None = None
    ended: float | None = None
    error: str = ""  # a sentence for the user, where it failed or was refused
    attempts: int = 0
    work: float = 0.0  # megapixels x steps


@dataclass(frozen=True)
class PictureRow:
    """One picture in the data folder. Times: epoch seconds."""

    id: str  # the name of its file, which no two pictures share
    owner: str
    path: str  # below pictures/, "/" between parts
    seed: int
    prompt: str
    model: str
    width: int  # pixels
    height: int  # pixels
    created: float
    negative_prompt: str = ""
    adapters: tuple[str, ...] = ()
    job: str = ""
    index: int = 0  # in its job
    flagged: str = ""  # a reason why the model's safety checker objects; "" = it does not
    favourite: bool = False
    deleted: float | None = None  # when it went to the bin
    size_bytes: int = 0
    kind: PictureKind = "picture"
