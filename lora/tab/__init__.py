"""The Train tab of the page: `add_tab(studio, settings, strangers=...)` inside a gr.Tab."""

import gradio as gr

from lora.jobs import Trainings
from lora.tab.train_tab import TrainTab
from sdgen.config import Settings
from sdgen.studio import Studio

FOR_THE_OPERATOR = (
    '<section class="sd-notice"><p>Training is for the operator of this app: it uses the machine '
    "for minutes to hours and keeps photos on it. On a machine of your own, start the app and "
    "find it here.</p></section>"
)


def add_tab(studio: Studio, settings: Settings, *, strangers: bool) -> Trainings | None:
    """Fill the open tab. strangers: the page is open to all, so it only says what is not for them.

    The trainings, whose `close` stops what runs when the app stops; None for strangers. When the
    app ends without it, the running training notices by itself.
    """
    if strangers:
        gr.HTML(FOR_THE_OPERATOR)
        return None

    def drawing() -> bool:
        status = studio.status()
        return bool(status.running or status.waiting)

    return TrainTab(studio, settings, Trainings(settings.data_dir, drawing)).trainings
