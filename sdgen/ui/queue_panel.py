"""A person's queue as HTML: what waits, in which order, and the buttons that change it.

Buttons carry `data-action` and `data-name`; actions.js turns a click into an event.
"""

from sdgen.queue import QueuedJob, QueueView
from sdgen.ui.messages import escape

PAUSED = "Paused: what runs goes on, and nothing new of yours starts."
SHOWN_CHARS = 300  # of a prompt; the line is cut by the page anyway


def panel(queue: QueueView) -> str:
    """The queue's panel; "" where nothing waits and nothing is held back."""
    waiting = queue.waiting
    if not waiting and not queue.paused:
        return ""
    jobs = "".join(_job(job, place, len(waiting)) for place, job in enumerate(waiting, start=1))
    listed = f'<ol class="sd-queue-jobs" aria-label="Waiting">{jobs}</ol>' if jobs else ""
    paused = f'<p class="sd-queue-paused">{PAUSED}</p>' if queue.paused else ""
    return (
        '<section class="sd-queue" aria-labelledby="sd-queue-title"><div class="sd-queue-head">'
        f'<h2 id="sd-queue-title" role="status">{escape(words(queue))}</h2>'
        f"{_pause(queue.paused)}{_cancel_all(len(waiting))}</div>{paused}{listed}</section>"
    )


def words(queue: QueueView) -> str:
    """How much waits: "Yours: 3 waiting · 5 of others ahead"."""
    waiting = queue.waiting
    said = f"Yours: {len(waiting)} waiting" if waiting else "Yours: nothing waiting"
    if waiting and not queue.paused and waiting[0].others_ahead:
        said += f" · {waiting[0].others_ahead} of others ahead"
    return said


def _pause(paused: bool) -> str:
    action, label = ("resume", "Resume") if paused else ("pause", "Pause")
    return (
        f'<button type="button" class="sd-button sd-small" data-key="pause" '
        f'data-action="{action}">{label}</button>'
    )


def _cancel_all(waiting: int) -> str:
    if not waiting:
        return ""
    return (
        '<button type="button" class="sd-button sd-small" data-key="cancel-all" '
        'data-action="cancel_all">Cancel all waiting</button>'
    )


def _job(job: QueuedJob, place: int, count: int) -> str:
    prompt = escape(job.prompt[:SHOWN_CHARS])
    about = [job.label] if job.label else []
    if job.num_images > 1:
        about.append(f"{job.num_images} pictures")
    said = f'<span class="sd-queue-about">{escape(" · ".join(about))}</span>' if about else ""
    return (
        f'<li data-key="{escape(job.id)}"><span class="sd-queue-place">{place}</span>'
        f'<span class="sd-queue-prompt" title="{prompt}">{prompt}</span>{said}'
        f"{_button('earlier', '↑', f'Move {place} up', job.id, off=place == 1)}"
        f"{_button('later', '↓', f'Move {place} down', job.id, off=place == count)}"
        f"{_button('drop_job', '✕', f'Cancel {place}', job.id)}</li>"
    )


def _button(action: str, sign: str, label: str, name: str, *, off: bool = False) -> str:
    """off: it stays where it is for the keyboard, and does nothing."""
    state = ' aria-disabled="true"' if off else ""
    return (
        f'<button type="button" class="sd-icon sd-small" data-action="{action}" '
        f'data-name="{escape(name)}" aria-label="{escape(label)}"{state}>{sign}</button>'
    )
