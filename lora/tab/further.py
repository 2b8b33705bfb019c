"""What is done only on an explicit press: captions by a model, and the push to the Hub."""

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from lora.captioner import (
    CAPTIONERS,
    CaptionerNeeded,
    CaptionWriter,
    captioner_folder,
    download,
    find_captioner,
    write_captions,
)
from lora.dataset import Dataset
from lora.jobs import TrainingRefused, Trainings
from sdgen.errors import SdgenError
from sdgen.ui.api.wrong_events import MISFITS
from sdgen.ui.messages import alert, notes, size


class GivenUp(Exception):
    """The page that asked is gone."""


def captioner_choices() -> list[tuple[str, str]]:
    """The captioning models, each with what it costs to have."""
    found = []
    for one in CAPTIONERS:
        try:
            captioner_folder(one)
            cost = "on this machine"
        except CaptionerNeeded:
            cost = f"{size(one.download_bytes)} to download"
        found.append((f"{one.title} · {one.licence} · {cost}", one.name))
    return found


def written_captions(
    dataset: Dataset, name: str, trigger: str, class_word: str
) -> Iterator[str | dict[str, str]]:
    """Sentences on how far it is, then the captions by the photos' names.

    Fetches the model where it is not here: the press said so. Raises CaptionerUnavailable.
    """

    def work(report: Callable[[str], None]) -> dict[str, str]:
        captioner = find_captioner(name)
        try:
            captioner_folder(captioner)
        except CaptionerNeeded:
            download(captioner, lambda done, total: report(_fetched(done, total)))
        report("Loading the captioning model")
        writer = CaptionWriter(captioner)
        count = len(dataset.examples)
        found = write_captions(
            dataset.examples, writer, trigger, class_word,
            lambda done, total: report(f"{done} of {total} photos captioned"),
        )  # fmt: skip
        report(f"{count} of {count} photos captioned")
        return {one.name: found[one.id] for one in dataset.examples if one.id in found}

    yield from _in_a_thread(work)


def _fetched(done: int, total: int) -> str:
    return f"{size(done)} of {size(total)} fetched" if total else f"{size(done)} fetched"


def _in_a_thread(
    work: Callable[[Callable[[str], None]], dict[str, str]],
) -> Iterator[str | dict[str, str]]:
    """What it reports, then what it returns; closing gives it up."""
    reports: queue.Queue[str | dict[str, str] | BaseException | None] = queue.Queue()
    given_up = threading.Event()

    def report(text: str) -> None:
        if given_up.is_set():
            raise GivenUp
        reports.put(text)

    def run() -> None:
        try:
            reports.put(work(report))
        except GivenUp:
            pass
        except MISFITS as error:
            reports.put(error)
        finally:
            reports.put(None)

    threading.Thread(target=run, name="captions", daemon=True).start()
    try:
        while (newest := reports.get()) is not None:
            if isinstance(newest, BaseException):
                raise newest
            yield newest
    finally:
        given_up.set()


def push_to_hub(trainings: Trainings, run_id: str, repo: str | None, private: bool) -> str:
    """Upload a finished run's files; HTML of where they are, or of why not."""
    from lora.hub import push

    try:
        view = trainings.find(run_id)
        if view.state != "done":
            raise TrainingRefused("Only a finished training can be put on the Hub.")
        adapter = _exported(view.folder.exports)
        pushed = push(view.folder, adapter, (repo or "").strip(), private=private)
    except SdgenError as error:
        return alert(str(error))
    kind = "private" if pushed.private else "public"
    return notes((f"It is on the Hub, {kind}: {pushed.url}",))


def _exported(folder: Path) -> Path:
    """The adapter for diffusers. Raises TrainingRefused where it was taken away."""
    names = [p for p in folder.glob("*.safetensors") if not p.name.endswith(".kohya.safetensors")]
    if not names:
        raise TrainingRefused("The files of this training are not there any more.")
    return names[0]
