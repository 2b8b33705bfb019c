"""What the endpoints answer: adapters, pictures and jobs, for programs."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import gradio as gr

from sdgen.errors import InvalidRequest, PictureUnreadable, StorageFailed
from sdgen.history import PictureRow
from sdgen.job import Saved
from sdgen.metadata import parameters_text
from sdgen.owners import Visitor
from sdgen.studio import Studio
from sdgen.studio_adapters import AdapterCard
from sdgen.ui.api.types import JudgedAdapter, MadePicture, ToldJob, UsedAdapter

NO_SUCH_JOB = "There is no job of yours with that job_id."
NOT_HANDED = (
    "The picture is made and saved, but it cannot be handed over now: the folder for temporary "
    "files is full. Ask for the job again later."
)


def judged(card: AdapterCard) -> JudgedAdapter:
    """An adapter for a program; of one that is not here, what is known."""
    report, verdict = card.report, card.verdict
    return JudgedAdapter(
        name=card.name,
        title=card.title,
        local=card.local,
        level=verdict.level if verdict else "",
        share=verdict.share if verdict else 0.0,
        verdict=verdict.sentence if verdict else "",
        left_out=[list(pair) for pair in verdict.left_out] if verdict else [],
        triggers=list(report.triggers) if report else [],
        strength=report.strength if report else 1.0,
        licence=report.licence if report else "",
        source=card.source,
        size_bytes=report.size_bytes if report else 0,
        sha256=report.sha256 if report else "",
        family=report.family if report else "",
        layout=report.layout if report else "",
        kind=report.kind if report else "",
        ranks=list(report.ranks) if report else [],
        alphas=list(report.alphas) if report else [],
        parts=asdict(report.parts) if report else {},
        base=report.base if report else "",
    )


@dataclass(frozen=True)
class Answers:
    """Pictures and jobs, as one app tells of them.

    served: a picture's copy where Gradio serves files. withhold_flagged: leave out the files to
    which the model's safety checker objects, and say so.
    """

    studio: Studio
    served: Callable[[Path], Path]
    withhold_flagged: bool = False

    def picture(self, saved: Saved) -> MadePicture:
        """One picture; without the file where it is withheld.

        Raises PictureUnreadable, and StorageFailed where it cannot be handed over now.
        """
        recipe = self.studio.recipe_of(saved.path)
        image = None
        if not (saved.flagged and self.withhold_flagged):
            copy = self._handed(saved.path)
            file = gr.FileData(path=str(copy), orig_name=saved.path.name, mime_type="image/png")
            image = file.model_dump()
        return MadePicture(
            id=saved.picture_id,
            image=image,
            seed=saved.seed,
            recipe=parameters_text(recipe),
            flagged=saved.flagged,
            prompt=recipe.prompt,
            original_prompt=recipe.original_prompt,
            enhanced_by=recipe.enhanced_by,
            adapters=[
                UsedAdapter(
                    name=adapter.name,
                    sha256=adapter.sha256,
                    source=adapter.source,
                    scale=adapter.scale,
                    text_scale=adapter.text_scale,
                )
                for adapter in recipe.adapters
            ],
        )

    def job(self, job_id: object, visitor: Visitor) -> ToldJob:
        """How far a job is.

        Raises InvalidRequest where the visitor has no job of that id, and StorageFailed where its
        pictures cannot be handed over now.
        """
        told = self.studio.find_job(job_id, visitor) if isinstance(job_id, str) else None
        if told is None:
            raise InvalidRequest("job_id", NO_SUCH_JOB)
        row, queued = told.row, told.queued
        return ToldJob(
            id=row.id,
            state=row.state,
            ahead=queued.ahead if queued else 0,
            step=queued.step if queued else 0,
            steps=queued.steps if queued else 0,
            seconds_left=queued.seconds_left if queued else None,
            pictures=[made for picture in told.pictures if (made := self._of_row(picture))],
            error=row.error,
            prompt=json.loads(row.request)["prompt"],
            created=row.created,
            started=row.started,
            ended=row.ended,
        )

    def _handed(self, picture: Path) -> Path:
        """The copy of a picture that a program may fetch. Raises PictureUnreadable where there is
        no such picture any more, and StorageFailed."""
        try:
            copy = self.served(picture)
        except OSError as error:
            if not picture.is_file():
                raise PictureUnreadable("There is no such file.") from error
            raise StorageFailed(NOT_HANDED) from error
        if copy == picture:  # as Gradio does where something vanishes under its hands
            raise StorageFailed(NOT_HANDED)
        return copy

    def _of_row(self, row: PictureRow) -> MadePicture | None:
        """None for a picture that was deleted since. Raises StorageFailed."""
        if row.deleted is not None:
            return None
        path = self.studio.gallery.path(row)
        try:
            return self.picture(Saved(row.index, row.seed, path, row.flagged, row.id))
        except PictureUnreadable:
            return None
