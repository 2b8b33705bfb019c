"""Training runs as the app sees them: started, watched, stopped, found again. No torch, no gradio.

    trainings = Trainings(data_dir, drawing=lambda: studio.status().running > 0)
    run_id = trainings.start(recipe)
    trainings.find(run_id).state  # "done" only with exit code 0 and whole files

trainings.py is the queue, keeper.py the process beside each training, traces.py what that leaves
on disk, views.py what a run looks like from outside.
"""

from lora.jobs.trainings import TrainingRefused, Trainings
from lora.jobs.views import CAN_GO_ON, Curves, RunView, Shown

__all__ = ["CAN_GO_ON", "Curves", "RunView", "Shown", "TrainingRefused", "Trainings"]
