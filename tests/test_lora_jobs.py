"""Trainings in processes of their own: what counts as done, stopping, pausing, finding again."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora.config import TrainingRecipe
from lora.jobs import Curves, RunView, TrainingRefused, Trainings
from lora.jobs.keeper import keep
from lora.jobs.traces import APP, USER, Exit, is_kept, read_exit
from lora.jobs.views import RUNNING
from lora.runs import RunFolder
from sdgen.errors import ShuttingDown

REPOSITORY = Path(__file__).parent.parent
FAKE = REPOSITORY / "tests" / "fake_training.py"
CANARY = "sk-CANARY-4711"
PATIENCE = 60.0  # seconds; the machine may be busy


def fake(how: str = "well") -> tuple[str, ...]:
    return (sys.executable, str(FAKE), how)


def recipe(name: str = "my cat") -> TrainingRecipe:
    return TrainingRecipe.checked(name=name, base="picturebook", photos="x", trigger="my cat")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def stands_still(pid: int | None) -> bool:
    """True while the system says that a process is stopped."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        return stat.read_text().rpartition(") ")[2].startswith("T")
    asked = ["ps", "-o", "stat=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout[:1] == "T"


def ended(trainings: Trainings, run_id: str) -> RunView:
    until(lambda: not trainings.find(run_id).running and trainings.find(run_id).state != "queued")
    return trainings.find(run_id)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., Trainings]]:
    """Makes Trainings over one data folder; all are closed at the end."""
    all_of_them: list[Trainings] = []

    def make(how: str = "well", drawing: Callable[[], bool] = lambda: False) -> Trainings:
        all_of_them.append(Trainings(tmp_path, drawing, fake(how)))
        return all_of_them[-1]

    yield make
    for trainings in all_of_them:
        trainings.close(PATIENCE)


def test_a_training_runs_to_its_end(made: Callable[..., Trainings]) -> None:
    trainings = made()
    run_id = trainings.start(recipe())
    view = ended(trainings, run_id)
    assert (view.state, view.error) == ("done", "")
    assert [path.name for path in view.files] == ["a.safetensors"]
    assert read_exit(view.folder) == Exit(0)
    assert view.recipe == recipe()
    assert [run.id for run in trainings.runs()] == [run_id]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no-file", "files are not there or not whole"),
        ("names-no-file", "files are not there or not whole"),
        ("half-a-file", "files are not there or not whole"),
        ("bad-exit", "files"),
        ("killed", "memory ran out"),
    ],
)
def test_only_exit_code_0_and_a_whole_file_are_success(
    made: Callable[..., Trainings], how: str, words: str
) -> None:
    trainings = made(how)
    view = ended(trainings, trainings.start(recipe()))
    assert view.state == "failed"
    assert view.files == ()
    if how != "bad-exit":
        assert words in view.error


def test_stop_keeps_what_is_there_and_continue_goes_on(made: Callable[..., Trainings]) -> None:
    trainings = made("slow")
    run_id = trainings.start(recipe())
    until(lambda: trainings.find(run_id).status.step >= 2)
    trainings.stop(run_id)
    view = ended(trainings, run_id)
    assert view.state == "stopped"
    assert 2 <= view.status.step < 20
    reached = view.status.step
    again = made("well")
    again.resume(run_id)
    assert ended(again, run_id).state == "done"
    curves = Curves(view.folder.metrics)
    curves.read()
    assert sorted(curves.loss) == list(range(1, 21))
    lines = view.folder.metrics.read_text().splitlines()
    assert len(lines) == 20, f"the {reached} steps were not taken again"
    with pytest.raises(TrainingRefused, match="nothing to add"):
        again.resume(run_id)


def test_one_at_a_time_the_others_wait(made: Callable[..., Trainings]) -> None:
    trainings = made("slow")
    first, second, third = (trainings.start(recipe(name)) for name in ("one", "two", "three"))
    until(lambda: trainings.find(first).state == "training")
    assert [trainings.find(run).state for run in (second, third)] == ["queued", "queued"]
    assert [trainings.find(run).ahead for run in (second, third)] == [1, 2]
    trainings.stop(second)
    assert trainings.find(second).state == "stopped"
    assert trainings.find(third).ahead == 1
    trainings.stop(first)
    until(lambda: trainings.find(third).state == "training")
    assert trainings.find(first).state == "stopped"
    assert trainings.newest() is not None
    assert trainings.newest().id == third  # type: ignore[union-attr]


@pytest.mark.skipif(sys.platform == "win32", reason="processes cannot be paused there")
def test_it_waits_while_pictures_are_drawn(made: Callable[..., Trainings]) -> None:
    drawing, looks = True, 0

    def draws() -> bool:
        nonlocal looks
        looks += 1
        return drawing

    def looked(more: int) -> None:
        """Returns once it has asked so many times more whether pictures are drawn."""
        now = looks
        until(lambda: looks >= now + more)

    trainings = made("slow", draws)
    run_id = trainings.start(recipe())
    looked(3)
    assert trainings.find(run_id).state == "queued", "it does not start while something is drawn"
    drawing = False
    until(lambda: trainings.find(run_id).status.step >= 1)
    drawing = True
    until(lambda: trainings.find(run_id).paused)
    until(lambda: stands_still(trainings.find(run_id).status.pid))
    step = trainings.find(run_id).status.step
    looked(3)
    assert stands_still(trainings.find(run_id).status.pid)
    assert trainings.find(run_id).status.step == step
    assert trainings.find(run_id).state == "training"
    drawing = False
    until(lambda: trainings.find(run_id).status.step > step)
    drawing = True
    until(lambda: trainings.find(run_id).paused)
    trainings.stop(run_id)
    assert ended(trainings, run_id).state == "stopped", "one that stands still can be stopped"


def test_sample_now(made: Callable[..., Trainings]) -> None:
    trainings = made("slow")
    run_id = trainings.start(recipe())
    until(lambda: trainings.find(run_id).state == "training")
    trainings.send(run_id, "sample-now")
    until(lambda: bool(trainings.find(run_id).folder.sampled_steps()))
    trainings.stop(run_id)
    ended(trainings, run_id)
    with pytest.raises(TrainingRefused, match="does not run"):
        trainings.send(run_id, "sample-now")


def test_a_closed_app_leaves_a_run_that_goes_on_later(made: Callable[..., Trainings]) -> None:
    trainings = made("slow")
    run_id, waiting = trainings.start(recipe()), trainings.start(recipe("later"))
    until(lambda: trainings.find(run_id).status.step >= 2)
    folder = trainings.find(run_id).folder
    assert is_kept(folder)
    trainings.close(PATIENCE)
    assert not is_kept(folder), "no process of it is left"
    with pytest.raises(ShuttingDown):
        trainings.start(recipe())
    again = made()
    view = again.find(run_id)
    assert view.state == "interrupted"
    assert "Continue goes on" in view.error
    assert again.find(waiting).state == "interrupted", "nothing starts by itself"
    again.resume(run_id)
    assert ended(again, run_id).state == "done"


APP_THAT_IS_KILLED = """
import sys, time
from pathlib import Path
from lora.config import TrainingRecipe
from lora.jobs import Trainings
data, *command = sys.argv[1:]
trainings = Trainings(Path(data), command=command)
fields = {"name": "x", "base": "picturebook", "photos": "x", "trigger": "x"}
print(trainings.start(TrainingRecipe.checked(**fields)), flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_an_app_killed_outright_leaves_no_training_behind(
    made: Callable[..., Trainings], tmp_path: Path
) -> None:
    app = subprocess.Popen(
        [sys.executable, "-c", APP_THAT_IS_KILLED, str(tmp_path), *fake("slow")],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert app.stdout is not None
    run_id = app.stdout.readline().strip()
    trainings = made()
    until(lambda: trainings.find(run_id).status.step >= 2)
    assert trainings.find(run_id).running, "another app's training is seen"
    app.send_signal(signal.SIGKILL)
    app.wait()
    app.stdout.close()
    view = ended(trainings, run_id)
    assert view.state == "interrupted"
    assert view.status.state == "stopped", "it was told to stop, not struck down"
    assert not is_kept(view.folder)
    trainings.resume(run_id)
    assert ended(trainings, run_id).state == "done"


def test_no_secret_reaches_the_training(
    made: Callable[..., Trainings], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("HF_TOKEN", "OPENAI_API_KEY", "SDGEN_AUTH", "MY_PASSWORD", "https_proxy", "MY_OWN")
    for name in names:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("PIP_INDEX", f"https://me:{CANARY}@example.org/simple")
    monkeypatch.setenv("SDGEN_THREADS", "1")
    trainings = made()
    view = ended(trainings, trainings.start(recipe()))
    environment = json.loads((view.folder.path / "environment.json").read_text())
    assert environment["SDGEN_THREADS"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"
    for path in view.folder.path.rglob("*"):
        assert not path.is_file() or CANARY not in path.read_text(errors="replace")


def test_deleting_takes_the_photos_too(made: Callable[..., Trainings], tmp_path: Path) -> None:
    trainings = made("slow")
    draft = trainings.draft()
    (draft.path / "cat.png").write_bytes(b"x")
    assert trainings.runs() == [], "photos that were only looked at are no run"
    run_id = trainings.start(recipe(), draft)
    until(lambda: trainings.find(run_id).state == "training")
    with pytest.raises(TrainingRefused, match="Stop it first"):
        trainings.delete(run_id)
    trainings.stop(run_id)
    ended(trainings, run_id)
    trainings.delete(run_id)
    assert list((tmp_path / "training").iterdir()) == []
    for name in (run_id, "..", "../..", ""):
        with pytest.raises(TrainingRefused, match="no such training"):
            trainings.delete(name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_training_that_does_not_listen_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()

    def orders() -> Iterator[bytes]:
        until(folder.metrics.exists)
        yield b"stop\n"

    patience = {USER: (0.2, 0.4), APP: (0.2, 0.4)}
    command = [*fake("deaf"), str(folder.path)]
    assert keep(folder, command, orders(), patience) == -signal.SIGKILL
    end = read_exit(folder)
    assert end is not None
    assert end.code == -signal.SIGKILL


def test_curves_are_read_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    curves = Curves(path)
    assert not curves.read()
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert curves.read()
    assert curves.loss == {1: 0.5}
    with path.open("a") as file:
        file.write('ss": 0.4}\nnonsense\n{"step": 2, "held_out_loss": 0.3}\n')
        file.write('{"step": 3, "loss": NaN}\n[]\n{"step": 2, "loss": 0.6}\n')
    assert curves.read()
    assert not curves.read()
    assert curves.loss == {1: 0.5, 2: 0.6}, "the newest of a step counts"
    assert curves.held_out == {2: 0.3}
    path.write_text('{"step": 1, "loss": 0.1}\n')
    assert curves.read()
    assert (curves.loss, curves.held_out) == ({1: 0.1}, {})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_real_training_outlives_its_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed in the middle of real steps, continued by another app, proven to its files."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    photos = REPOSITORY / "lora" / "examples" / "minnal-murali" / "photos"
    wanted = TrainingRecipe.checked(
        name="tiny", base="picturebook", photos=str(photos), trigger="Minnal Murali",
        resolution=64, batch_size=2, steps=40, save_every=20, held_out=0, rank=2,
        samples=["Minnal Murali"],
    )  # fmt: skip
    first = Trainings(tmp_path)
    run_id = first.start(wanted)
    deadline = time.monotonic() + 300
    while first.find(run_id).status.step < 2 and time.monotonic() < deadline:
        assert first.find(run_id).state not in ("failed", "stopped"), first.find(run_id).error
        time.sleep(0.02)
    first.close(120)
    again = Trainings(tmp_path)
    view = again.find(run_id)
    assert view.state == "interrupted"
    reached = view.status.step
    assert view.folder.saved_steps()[-1] == reached < 40, "it stopped after its step, and saved"
    again.resume(run_id)
    while again.find(run_id).state in ("queued", *RUNNING) and time.monotonic() < deadline:
        time.sleep(0.1)
    view = again.find(run_id)
    again.close(60)
    assert (view.state, view.error) == ("done", "")
    assert (tmp_path / "adapters" / "tiny.safetensors").is_file()
    assert [line["step"] for line in view.folder.read_metrics() if "loss" in line] == list(
        range(1, 41)
    )
