"""What an app does all day, told line by line as soon as each deed has returned."""

import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sdgen.config import Settings
from sdgen.errors import SdgenError
from sdgen.gallery import Search
from sdgen.job import Failed, Finished, Job, Saved, Stopped
from sdgen.owners import ANYONE, LOCAL_VISITOR, Visitor
from sdgen.queue import Order
from sdgen.request import GenerateRequest
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, ask
from tests.faults.files import lora_file

ANN = Visitor("a" * 20, "a" * 20)
VISITORS = (LOCAL_VISITOR, ANN, Visitor(ANYONE, "1.2.3.4"))
BACKLOG = 4  # jobs of one person that it gathers at most
HOW_OFTEN = {
    "submit": 30, "upload": 15, "remove": 6, "move": 15, "delete": 10, "restore": 5, "favourite": 8,
    "thumbnail": 8, "cancel": 6,
}  # fmt: skip
PATIENCE = 60.0  # seconds

Tell = Callable[..., None]


def teller(pipe: int) -> Tell:
    """Writes its arguments as one line; a line is whole or not there."""

    def tell(*words: object) -> None:
        os.write(pipe, json.dumps(words).encode() + b"\n")

    return tell


class TellingEngine(FakeEngine):
    """Tells what it is asked to draw."""

    def __init__(self, tell: Tell) -> None:
        super().__init__(seconds_per_step=0.002)
        self._tell = tell

    def submit(self, request: GenerateRequest, job_id: str = "") -> Job:
        self._tell("drawing", request.prompt, request.seed, request.num_images)
        return super().submit(request, job_id)


class Life:
    """One run of the app over a data folder."""

    def __init__(self, data_dir: Path, uploads: Path, number: int, tell: Tell) -> None:
        """number: of this run; all that is random follows from it. uploads: files of users."""
        self._random = random.Random(number)
        self._number, self._uploads, self._tell = number, uploads, tell
        self._deeds = 0
        settings = Settings(data_dir=data_dir, credentials=self._random.random() < 0.15)
        self._studio = Studio(settings, TellingEngine(tell), FakeModelFiles())
        self._studio.open_queue()
        for visitor in VISITORS:
            queue = self._studio.queue(visitor.owner)
            tell("found", visitor.owner, [job.id for job in queue.jobs])
            for queued in queue.jobs:
                job = self._studio.job(queued.id)
                if job is not None:
                    self._follow(job)

    def go_on(self, favoured: str = "") -> None:
        """Do one thing after the other, for ever. favoured: what is done most."""
        deeds = HOW_OFTEN | ({favoured: 200} if favoured else {})
        while True:
            (deed,) = self._random.choices(list(deeds), list(deeds.values()))
            visitor = self._random.choice(VISITORS)
            try:
                getattr(self, f"_{deed}")(visitor)
            except SdgenError as error:
                self._tell("refused", deed, str(error))
            time.sleep(self._random.random() * 0.004)

    def end(self) -> None:
        """Let all jobs come to their ends, and close."""
        deadline = time.monotonic() + PATIENCE
        while self._studio.history.unfinished():
            assert time.monotonic() < deadline, "jobs that never end"
            time.sleep(0.01)
        self._studio.gallery.synchronise()
        self._studio.close()

    def _submit(self, visitor: Visitor) -> None:
        if len(self._studio.queue(visitor.owner).jobs) >= BACKLOG:
            return
        orders = []
        for _ in range(self._random.randint(1, 2)):
            self._deeds += 1
            prompt = f"robot {self._number} {self._deeds}"
            seed, count = self._random.randrange(10**6), self._random.randint(1, 3)
            orders.append(Order(ask(prompt, seed=seed, num_images=count, steps=2)))
        for job in self._studio.submit(orders, visitor, "keep"):
            self._tell("accepted", job.id, visitor.owner)
            self._follow(job)

    def _follow(self, job: Job) -> None:
        lock = threading.Lock()
        seen = 0

        def news() -> None:
            nonlocal seen
            with lock:
                events, seen = job.after(seen)
                for event in events:
                    if isinstance(event, Saved):
                        self._tell("saved", job.id, event.picture_id, event.seed)
                    elif isinstance(event, Finished | Stopped | Failed):
                        self._tell("ended", job.id, type(event).__name__)

        job.listen(news)
        news()

    def _upload(self, visitor: Visitor) -> None:
        self._deeds += 1
        path = lora_file(self._uploads / "upload.safetensors", self._number * 1000 + self._deeds)
        self._tell("uploaded", self._studio.add_adapter_file(path, "mine.safetensors").name)

    def _remove(self, visitor: Visitor) -> None:
        mine = [card.name for card in self._studio.adapters("picturebook") if card.report
                and card.report.source == "upload"]  # fmt: skip
        if len(mine) > 5:
            name = self._random.choice(mine)
            self._tell("removing", name)
            self._studio.remove_adapter(name)
            self._tell("removed", name)

    def _move(self, visitor: Visitor) -> None:
        waiting = self._studio.queue(visitor.owner).waiting
        if len(waiting) < 2:
            return
        self._tell("moving", visitor.owner)
        self._studio.move(waiting[-1].id, visitor.owner, -1)
        ids = [job.id for job in self._studio.queue(visitor.owner).jobs]
        self._tell("order", visitor.owner, ids)

    def _cancel(self, visitor: Visitor) -> None:
        jobs = self._studio.queue(visitor.owner).jobs
        if jobs and visitor.owner != ANYONE:
            self._tell("cancelling", jobs[-1].id)
            self._studio.cancel(jobs[-1].id, visitor)

    def _some_picture(self, visitor: Visitor, search: Search) -> list[str]:
        rows = self._studio.gallery.search(visitor.owner, search).rows
        return [self._random.choice(rows).id] if rows else []

    def _delete(self, visitor: Visitor) -> None:
        ids = self._some_picture(visitor, Search())
        self._tell("moving picture", ids)
        self._tell("deleted", self._studio.gallery.delete(visitor.owner, ids))

    def _restore(self, visitor: Visitor) -> None:
        ids = self._some_picture(visitor, Search(bin=True))
        self._tell("moving picture", ids)
        self._tell("restored", self._studio.gallery.restore(visitor.owner, ids))

    def _favourite(self, visitor: Visitor) -> None:
        ids = self._some_picture(visitor, Search())
        self._studio.gallery.favourite(visitor.owner, ids, True)
        self._tell("favourite", ids)

    def _thumbnail(self, visitor: Visitor) -> None:
        rows = self._studio.gallery.search(visitor.owner, Search()).rows
        if rows:
            self._studio.gallery.thumbnail(self._random.choice(rows))
