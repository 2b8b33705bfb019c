"""The Train tab: what happens when. Handlers take plain values and return updates."""

import contextlib
from collections.abc import Iterator
from typing import Any

import gradio as gr

from lora.jobs import Trainings
from lora.runs import Command
from lora.tab.form import Bases, TrainForm, effective, recipe_of, usual
from lora.tab.further import push_to_hub, written_captions
from lora.tab.layout import Layout, lay_out
from lora.tab.photos import Photos
from lora.tab.report import TEMPLATES
from lora.tab.shown_run import VIEW, ShownRun, Update
from sdgen.config import Settings
from sdgen.errors import SdgenError
from sdgen.html import render
from sdgen.studio import Studio
from sdgen.ui.gradio_parts import event_data
from sdgen.ui.messages import alert, notes, status

PRIVATE = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
QUICK = {**PRIVATE, "queue": False}
PLACEHOLDERS = ("steps", "batch_size", "learning_rate", "rank", "resolution", "prior_weight",
                "min_snr_gamma", "caption_dropout")  # fmt: skip
LOOKING = "Looking at the photos …"
WENT_WRONG = "Something went wrong inside the app, or its disk is full. The log says more."


class TrainTab:
    """Layout and wiring over the trainings of one data folder."""

    def __init__(self, studio: Studio, settings: Settings, trainings: Trainings) -> None:
        self.trainings = trainings
        self._bases = Bases(studio, settings)
        self._photos = Photos(trainings, studio)
        self._parts = lay_out(self._bases.choices())
        self._run = ShownRun(trainings, settings.data_dir, self._parts.head)
        self._run_id = gr.State("")
        self._draft = gr.State("")  # the folder of the photos that were checked
        self._seen = gr.State(())  # digests of what this page shows already
        self._wire(self._parts)

    def _wire(self, parts: Layout) -> None:
        form = list(parts.form)
        shown = [
            parts.head, parts.outcome, parts.curves, parts.samples, parts.runs, parts.stop,
            parts.resume, parts.sample_now, parts.save_now, parts.delete, parts.own_choice,
            parts.step, parts.strength, parts.delete_yes, parts.timer,
        ]  # fmt: skip
        view = [self._run_id, self._seen, *shown]
        checked = [parts.notice, parts.report, parts.effective, self._draft]
        checking = parts.check.click(
            self.check, [parts.photos, self._draft, *form], checked, **PRIVATE
        )
        parts.report.caption(self.caption, self._draft, None, **QUICK)
        starting = parts.start.click(
            self.start, [parts.photos, self._draft, *form], [*checked, *view], **PRIVATE
        )
        writing = parts.write.click(
            self.write_captions,
            [parts.captioner, parts.photos, self._draft, *form],
            checked,
            **PRIVATE,
        )
        pushing = parts.push.click(
            self.push, [self._run_id, parts.repo, parts.private], parts.notice, **PRIVATE
        )
        for deed in (checking, starting, writing, pushing):
            deed.failure(self.went_wrong, None, parts.notice, **QUICK)
        gr.on(
            [one.change for one in form], self.show_effective, [self._draft, *form],
            parts.effective, trigger_mode="always_last", **QUICK,
        )  # fmt: skip
        base = parts.field("base")
        boxes = [parts.field(name) for name in PLACEHOLDERS]
        base.change(self.show_usual, base, boxes, **QUICK)
        chosen = [self._run_id]
        for button, handler in (
            (parts.stop, self.stop),
            (parts.resume, self.resume),
            (parts.sample_now, self.sample_now),
            (parts.save_now, self.save_now),
            (parts.delete_yes, self.delete),
        ):
            button.click(handler, chosen, [parts.notice, *view], **QUICK)
        parts.choose.click(
            self.choose, [self._run_id, parts.step, parts.strength], [parts.notice, *view], **QUICK
        )
        parts.delete.click(self.ask_delete, None, [parts.delete, parts.delete_yes], **QUICK)
        parts.runs.open(self.open, None, view, **QUICK)
        parts.timer.tick(self.look, [self._run_id, self._seen], view, **QUICK)
        # No triggers: when a page opens.
        gr.on(None, self.restore, None, [base, parts.effective, *view, *boxes], **QUICK)

    # --- photos and settings

    def check(self, files: list[str] | None, draft: str, *values: Any) -> Iterator[list[Update]]:
        """The report on the photos, before anything is trained."""
        form = TrainForm(*values)
        yield [notes((LOOKING,)) if files else "", gr.skip(), gr.skip(), gr.skip()]
        try:
            checked = self._photos.check(files or [], draft, form, self._bases)
        except SdgenError as error:
            yield [alert(str(error)), gr.skip(), gr.skip(), gr.skip()]
            return
        said = self.show_effective(checked.draft, *values)
        yield ["", checked.report, said, checked.draft]

    def caption(self, draft: str, event: gr.EventData) -> None:
        """A caption that was typed, kept at once."""
        data = event_data(event)
        name, text = data.get("name"), data.get("text")
        if isinstance(name, str) and isinstance(text, str):
            with contextlib.suppress(SdgenError):
                self._photos.caption(draft, name, text)

    def write_captions(
        self, captioner: str, files: list[str] | None, draft: str, *values: Any
    ) -> Iterator[list[Update]]:
        """Captions for all photos by a model, to be changed as one likes."""
        form = TrainForm(*values)
        stay = [gr.skip()] * 3
        try:
            if not self._photos.is_current(files or [], draft, form, self._bases):
                draft = self._photos.check(files or [], draft, form, self._bases).draft
            dataset = self._photos.dataset(draft)
            steps = written_captions(dataset, captioner, form.trigger, form.class_word or "")
            for step in steps:
                if isinstance(step, str):
                    yield [notes((step,)), *stay]
                    continue
                for name, text in step.items():
                    self._photos.caption(draft, name, text)
            checked = self._photos.check(files or [], draft, form, self._bases)
        except SdgenError as error:
            yield [alert(str(error)), *stay]
            return
        yield ["", checked.report, gr.skip(), checked.draft]

    def push(self, run_id: str, repo: str | None, private: bool) -> Iterator[str]:
        """Put a finished adapter on the Hub; private unless somebody unticked that."""
        yield notes(("Uploading …",))
        yield push_to_hub(self.trainings, run_id, repo, private is not False)

    def show_effective(self, draft: str, *values: Any) -> str:
        """What would be trained, with all that the form leaves open."""
        form = TrainForm(*values)
        count = self._photos.count(draft)
        try:
            recipe = effective(form, self._bases.family(form.base), count or 20)
        except SdgenError as error:
            return status(str(error), "sd-effective") if form.base else ""
        photos = recipe.steps * recipe.batch_size * recipe.accumulation
        each = f"each photo about {photos / count:.0f} times" if count else "for about 20 photos"
        facts = (
            ("steps", recipe.steps),
            ("photos a step", recipe.batch_size * recipe.accumulation),
            ("pixels", f"{recipe.resolution} × {recipe.resolution}"),
            ("rank = alpha", recipe.rank),
            ("learning rate", f"{recipe.learning_rate:g}"),
            ("optimizer", recipe.optimizer),
            ("prior", f"{recipe.prior_weight:g}"),
        )
        return render(TEMPLATES, "report.html", "effective", facts=facts, each=each)

    def show_usual(self, base: str) -> list[Update]:
        """The usual settings of a base, as the boxes' placeholders."""
        try:
            shown = usual(self._bases.family(base))
        except SdgenError:
            return [gr.skip()] * len(PLACEHOLDERS)
        return [gr.update(placeholder=shown[name]) for name in PLACEHOLDERS]

    # --- runs

    def start(self, files: list[str] | None, draft: str, *values: Any) -> Iterator[list[Update]]:
        """Train on the checked photos; unchecked ones are checked first."""
        form = TrainForm(*values)
        try:
            recipe = recipe_of(form, "photos")
            report: Update = gr.skip()
            if not self._photos.is_current(files or [], draft, form, self._bases):
                checked = self._photos.check(files or [], draft, form, self._bases)
                draft, report = checked.draft, checked.report
            folder = self._photos.freeze(draft, recipe)
            new_id = self.trainings.start(recipe.with_fields(photos=str(folder.photos)), folder)
        except SdgenError as error:
            yield [alert(str(error)), *[gr.skip()] * (3 + VIEW)]
            return
        yield ["", report, gr.skip(), draft, *self._run.show(new_id, ())]

    def stop(self, run_id: str) -> list[Update]:
        """Stop after the running step."""
        return self._after(run_id, lambda: self.trainings.stop(run_id))

    def resume(self, run_id: str) -> list[Update]:
        """Go on where it was."""
        return self._after(run_id, lambda: self.trainings.resume(run_id))

    def sample_now(self, run_id: str) -> list[Update]:
        """Samples after the running step."""
        return self._send(run_id, "sample-now")

    def save_now(self, run_id: str) -> list[Update]:
        """A checkpoint after the running step."""
        return self._send(run_id, "save-now")

    def choose(self, run_id: str, step: int | None, strength: float) -> list[Update]:
        """Another checkpoint or strength than the picked one."""
        return self._after(
            run_id, lambda: self.trainings.choose(run_id, int(step or 0), float(strength))
        )

    def went_wrong(self) -> str:
        """A defect of ours, or a full disk: said plainly."""
        return alert(WENT_WRONG)

    def ask_delete(self) -> list[Update]:
        """Once more, before a run is removed."""
        return [gr.update(visible=False), gr.update(visible=True)]

    def delete(self, run_id: str) -> list[Update]:
        """Remove a run; then the newest of the others is shown."""
        said = self._after(run_id, lambda: self.trainings.delete(run_id))
        newest = self.trainings.newest()
        return said if said[0] else ["", *self._run.show(newest.id if newest else "", ())]

    def open(self, event: gr.EventData) -> list[Update]:
        """Another run, from the list."""
        data = event_data(event)
        return self._run.show(str(data.get("name", "")), ())

    def look(self, run_id: str, seen: tuple[str, ...]) -> list[Update]:
        """What has changed since the page looked last."""
        return self._run.show(run_id, seen)

    def restore(self) -> list[Update]:
        """A page that opens finds the run that is on, or the newest."""
        choices = self._bases.choices()
        base = choices[0][1] if choices else ""
        picker = gr.update(choices=choices, value=base or None)
        newest = self.trainings.newest()
        said = self.show_effective("", *TrainForm(base=base))
        shown = self._run.show(newest.id if newest else "", ())
        return [picker, said, *shown, *self.show_usual(base)]

    # --- inside

    def _send(self, run_id: str, command: Command) -> list[Update]:
        return self._after(run_id, lambda: self.trainings.send(run_id, command))

    def _after(self, run_id: str, deed: Any) -> list[Update]:
        """Do it, and show the run; a refusal is said."""
        try:
            deed()
        except SdgenError as error:
            return [alert(str(error)), *self._run.show(run_id, ())]
        return ["", *self._run.show(run_id, ())]
