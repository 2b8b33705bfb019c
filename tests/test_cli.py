"""The command line: results on stdout, words on stderr, exit codes that mean something."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from sdgen.cli import app
from sdgen.config import Settings
from sdgen.errors import ModelUnavailable, OutOfMemory, StorageFailed
from sdgen.history import History
from sdgen.metadata import encode_png, read_picture, read_recipe
from sdgen.models import bundled_models
from sdgen.queue import AppLock
from sdgen.studio import Studio
from sdgen.terminal import plain
from tests.conftest import FakeEngine, FakeModelFiles, Fault, ask, fake_picture

REPOSITORY = Path(__file__).parent.parent
Run = Callable[..., Result]
SMALL = ("--width", "64", "--height", "64", "--steps", "2")


@pytest.fixture
def run(engine: FakeEngine, model_files: FakeModelFiles, tmp_path: Path) -> Run:
    """Runs a command line over the fakes, with a data folder of the test's own."""

    def studio(settings: Settings) -> Studio:
        own = settings.model_copy(update={"data_dir": tmp_path / "data"})
        return Studio(own, engine, model_files)

    def invoke(*arguments: str, answer: str = "") -> Result:
        return CliRunner().invoke(app, list(arguments), obj=studio, input=answer)

    return invoke


def parsed(result: Result) -> dict[str, Any]:
    """The one JSON object on stdout."""
    assert result.stdout.count("\n") == 1
    value = json.loads(result.stdout)
    assert isinstance(value, dict)
    return value


def test_generate_prints_the_paths_of_what_it_drew(
    run: Run, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.seconds_per_step = 0.1
    out = tmp_path / "out"
    result = run("generate", "a robot", "--seed", "7", "-n", "3", "-o", str(out), *SMALL)
    assert result.exit_code == 0
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [read_recipe(path).seed for path in paths] == [7, 8, 9]
    assert set(out.iterdir()) == set(paths)
    assert "Drawing" in result.stderr


def test_every_option_reaches_the_request(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    options = "--seed 5 --steps 4 -n 2 --guidance 2.5 --width 72 --height 64 --sampler lcm"
    result = run(
        "generate", "a robot", "--negative", "blurry", "--clip-skip", "1", "--exact",
        *options.split(), "--json",
    )  # fmt: skip
    request = ask(
        "a robot", negative_prompt="blurry", clip_skip=1, exact=True, seed=5, steps=4,
        num_images=2, guidance_scale=2.5, width=72, sampler="lcm",
    )  # fmt: skip
    assert engine.submitted == [request]
    said = parsed(result)
    assert said["seeds"] == [5, 6]
    assert said["recipe"]["sampler"] == "lcm"
    assert not said["stopped"]
    assert said["seconds"] >= 0
    for path, seed in zip(said["paths"], said["seeds"], strict=True):
        assert Path(path).is_relative_to(tmp_path / "data" / "pictures")
        with Image.open(path) as image:
            assert image.tobytes() == fake_picture(request, seed).tobytes()


def test_what_is_left_out_is_the_models_default(run: Run, engine: FakeEngine) -> None:
    assert run("generate", "a robot", "--steps", "1").exit_code == 0
    spec = bundled_models()["picturebook"]
    request = engine.submitted[0]
    assert (request.width, request.height, request.sampler) == (256, 256, spec.sampler)
    assert request.guidance_scale == spec.guidance_scale


def test_a_grid_is_one_sheet(run: Run, engine: FakeEngine, tmp_path: Path) -> None:
    axes = ("--grid-x", "steps=1,2,3", "--grid-y", "prompt=robot,cat")
    given = parsed(run("generate", "a robot", "--seed", "7", *axes, *SMALL, "--json"))
    ((path,), (seed,)) = given["paths"], given["seeds"]
    asked = {(request.prompt, request.steps) for request in engine.submitted}
    assert asked == {(prompt, steps) for prompt in ("a robot", "a cat") for steps in (1, 2, 3)}
    assert seed == 7
    assert read_recipe(Path(path)).grid
    with closing(History(tmp_path / "data")) as history:
        row = history.picture(Path(path).stem)
    assert row is not None
    assert (row.kind, row.owner) == ("sheet", "local")
    assert row.job == "", "no row of a job stands behind it"


def test_a_sheet_goes_where_it_is_sent(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("generate", "a robot", "--grid-x", "seed=1-4", "-o", str(out), *SMALL).exit_code == 0
    (sheet,) = out.iterdir()
    with Image.open(sheet) as image:
        assert image.width > 4 * 64


def test_a_grid_that_cannot_be_names_the_axis_and_draws_nothing(
    run: Run, engine: FakeEngine
) -> None:
    for wrong, said in (
        (("--grid-x", "steps=1,999"), "Steps must be at most 150"),
        (("--grid-y", "steps=1,2"), "Grid axis x"),
        (("--grid-x", "size=1"), "Grid axis x"),
        (("--grid-x", "seed=1,2", "-n", "2"), "Count must be 1 in a grid"),
    ):
        result = run("generate", "a robot", *wrong)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
    assert engine.submitted == []


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["generate", " "], 2, "InvalidRequest"),
        (["generate", "x", "--steps", "0"], 2, "InvalidRequest"),
        (["generate", "x", "--sampler", "heun"], 2, "InvalidRequest"),
        (["generate", "x", "--guidance", "nan"], 2, "InvalidRequest"),
        (["generate", "x", "--model", "no-such"], 3, "ModelUnavailable"),
        (["generate", "x", "--model", "sd15"], 3, "DownloadNeeded"),
        (["download", "sd15"], 3, "DownloadNeeded"),
        (["download", "no-such"], 3, "ModelUnavailable"),
        (["show", "absent.png"], 1, "PictureUnreadable"),
    ],
)
def test_errors_are_a_sentence_and_a_code(
    run: Run, engine: FakeEngine, arguments: list[str], code: int, kind: str
) -> None:
    as_json = run(*arguments, "--json")
    assert as_json.exit_code == code
    assert parsed(as_json)["kind"] == kind
    in_words = run(*arguments, answer="n\n")
    assert in_words.exit_code == code
    assert in_words.stdout.strip() in ("", "n")  # "n": the answer, as a terminal shows it
    assert "Error: " in in_words.stderr
    assert "Traceback" not in in_words.stderr
    assert engine.submitted == []


def test_an_invalid_request_names_its_field(run: Run) -> None:
    assert parsed(run("generate", "x", "--steps", "999", "--json"))["field"] == "steps"


@pytest.mark.parametrize(
    "arguments", [[], ["draw"], ["generate"], ["generate", "x", "--seed", "seven"]]
)
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_wrong_setting_is_2_and_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGEN_MAX_QUEUE", "many")
    result = run("models", "--json")
    assert result.exit_code == 2
    assert "SDGEN_MAX_QUEUE" in parsed(result)["error"]


def test_a_failure_is_1_and_keeps_what_was_drawn(
    run: Run, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.faults.append(Fault(OutOfMemory("Too large for this machine."), index=1))
    result = run("generate", "x", "-n", "3", "-o", str(tmp_path / "out"), *SMALL)
    assert result.exit_code == 1
    assert "Too large for this machine." in result.stderr
    assert [Path(line) for line in result.stdout.splitlines()] == list((tmp_path / "out").iterdir())


def test_a_folder_that_cannot_be_written_is_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("generate", "x", "-o", str(tmp_path / "file"), "--json", *SMALL)
    assert result.exit_code == 1
    assert parsed(result)["kind"] == StorageFailed.__name__


def test_notes_of_the_engine_are_told(run: Run, engine: FakeEngine) -> None:
    engine.notes = ("The prompt is long.",)
    assert run("generate", "x", *SMALL).stderr.count("The prompt is long.") == 1


def test_notes_are_in_the_json(run: Run, engine: FakeEngine) -> None:
    engine.notes = ("The prompt is long.",)
    assert parsed(run("generate", "x", "--json", *SMALL))["notes"] == list(engine.notes)


def test_models_say_what_they_cost(run: Run) -> None:
    cards = {card["name"]: card for card in parsed(run("models", "--json"))["models"]}
    assert cards.keys() == bundled_models().keys()
    assert cards["picturebook"]["local"]
    assert cards["sd15"]["download_bytes"] > 1e9
    table = run("models").stdout
    assert "2.8 GB" in table
    assert "CC0-1.0" in table


def test_nothing_is_downloaded_without_a_yes(run: Run, model_files: FakeModelFiles) -> None:
    refused = run("download", "sd15", answer="n\n")
    assert refused.exit_code == 3
    assert "2.8 GB" in refused.stderr
    assert "OpenRAIL" in refused.stderr
    assert "sd15" not in model_files.local
    assert run("download", "sd15", answer="y\n").exit_code == 0
    assert "sd15" in model_files.local
    assert parsed(run("download", "sd15", "--json"))["local"]  # nothing left to ask
    assert run("download", "lcm", "--yes").exit_code == 0


def test_a_failed_download_is_3(run: Run, model_files: FakeModelFiles) -> None:
    model_files.error = ModelUnavailable("There is no network.")
    result = run("download", "sd15", "--yes")
    assert result.exit_code == 3
    assert "sd15" not in model_files.local
    assert "There is no network." in result.stderr


def test_show_prints_the_recipe(run: Run) -> None:
    path = parsed(run("generate", "two\nlines", "--seed", "7", "--json", *SMALL))["paths"][0]
    shown = run("show", path)
    assert shown.exit_code == 0
    assert "two\n" in shown.stdout
    assert "seed             7" in shown.stdout
    assert "DPM++ 2M" in shown.stdout
    recipe = parsed(run("show", path, "--json"))["recipe"]
    assert recipe["prompt"] == "two\nlines"


@pytest.mark.parametrize("told", ["Karras", "[1]", '{"other": 1}', '{"class": "Euler"}'])
def test_show_takes_what_other_programs_call_a_noise_scheduler(
    run: Run, tmp_path: Path, told: str
) -> None:
    path = Path(parsed(run("generate", "a robot", "--json", *SMALL))["paths"][0])
    image, recipe = read_picture(path)
    foreign = tmp_path / "foreign.png"
    foreign.write_bytes(encode_png(image, recipe.model_copy(update={"noise_scheduler": told})))
    shown = run("show", str(foreign))
    assert shown.exit_code == 0
    assert f"noise scheduler  {'Euler' if 'Euler' in told else told}" in shown.stdout


def test_a_picture_cannot_take_over_the_terminal(run: Run) -> None:
    path = parsed(run("generate", "red \x1b[2J\x07 robot", "--json", *SMALL))["paths"][0]
    assert "\x1b[2J" not in run("show", path).stdout
    assert plain("a\x1b\u202eb\n") == "a\ufffd\ufffdb\n"


def test_serve_has_the_options_of_the_app(run: Run) -> None:
    shown = run("serve", "--help")
    assert shown.exit_code == 0
    assert "--share" in shown.stdout
    assert run("serve", "--share").exit_code == 2  # open to all, and nobody said that it may


def test_help_names_the_exit_codes(run: Run) -> None:
    for arguments in ([], ["generate"], ["models"], ["download"], ["show"]):
        text = " ".join(run(*arguments, "--help").stdout.split())
        assert "130 stopped" in text


SLOWLY = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
from sdgen.cli import main
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles
main(lambda settings: Studio(settings, FakeEngine(seconds_per_step=0.25), FakeModelFiles()))
"""


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_a_bar_on_the_terminal_leaves_stdout_to_the_paths(tmp_path: Path) -> None:
    screen, terminal = os.openpty()
    shown = bytearray()

    def watch() -> None:
        with contextlib.suppress(OSError):  # how Linux says that a terminal is closed
            while part := os.read(screen, 4096):
                shown.extend(part)

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = subprocess.run(
        [sys.executable, "-c", SLOWLY, "generate", "x", "-o", str(tmp_path / "out"), *SMALL],
        cwd=REPOSITORY,
        env=os.environ | {"SDGEN_DATA_DIR": str(tmp_path / "data"), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        check=False,
    )
    os.close(terminal)
    watcher.join()
    os.close(screen)
    assert done.returncode == 0
    assert [Path(line) for line in done.stdout.splitlines()] == list((tmp_path / "out").iterdir())
    assert "Drawing" in shown.decode()
    assert "━" in shown.decode()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_stops_and_keeps_finished_pictures(tmp_path: Path, as_json: bool) -> None:
    command = ["generate", "x", "-n", "16", "-o", str(tmp_path / "out"), *SMALL]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *command, *(["--json"] if as_json else [])],
        cwd=REPOSITORY,
        env=os.environ | {"SDGEN_DATA_DIR": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while process.poll() is None and not list((tmp_path / "out").glob("*.png")):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    kept = sorted((tmp_path / "out").iterdir())
    assert 1 <= len(kept) < 16
    if as_json:
        said = json.loads(out)
        assert said["stopped"]
        assert [Path(path) for path in said["paths"]] == kept
    else:
        assert [Path(line) for line in out.splitlines()] == kept
        assert "kept" in err
    for path in kept:
        read_recipe(path)


def test_verify_says_whether_a_picture_is_what_its_recipe_draws(tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        settings = Settings(data_dir=tmp_path / "data")
        studio = Studio(settings, FakeEngine(), FakeModelFiles())  # a command ends its engine
        return CliRunner().invoke(app, list(arguments), obj=lambda _: studio)

    path = Path(run("generate", "a robot", "-o", str(tmp_path / "out"), *SMALL).stdout.strip())
    found = run("verify", str(path), "--json")
    assert (found.exit_code, parsed(found)["answer"]) == (0, "identical")
    image, recipe = read_picture(path)
    forged = tmp_path / "forged.png"
    forged.write_bytes(encode_png(image, recipe.model_copy(update={"prompt": "a blue tree"})))
    assert run("verify", str(forged)).exit_code == 1
    forged.write_bytes(encode_png(image, recipe.model_copy(update={"model": "gone"})))
    lost = run("verify", str(forged))
    assert lost.exit_code == 3
    assert "'gone'" in lost.stdout


def with_right_sums(png: bytes) -> bytes:
    """The PNG with each chunk's checksum made anew, as somebody who forges would."""
    at = 8
    made = png[:at]
    while at < len(png):
        end = at + 8 + int.from_bytes(png[at : at + 4], "big")
        made += png[at:end] + zlib.crc32(png[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return made


def test_show_reads_the_content_credentials(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    path = Path(run("generate", "a robot", "-o", str(tmp_path / "out"), *SMALL).stdout.strip())
    assert "trained model" in run("show", str(path)).stdout
    assert parsed(run("show", str(path), "--json"))["credentials"]["state"] == "intact"
    path.write_bytes(with_right_sums(path.read_bytes().replace(b"a robot", b"a rebel")))
    assert "changed" in run("show", str(path)).stdout


def test_a_prompt_can_be_left_out_of_the_file(run: Run, engine: FakeEngine) -> None:
    said = parsed(run("generate", "my secret", "--leave-out-prompt", "--json", *SMALL))
    path = Path(said["paths"][0])
    assert engine.submitted[0].prompt == "my secret"
    assert read_recipe(path).prompt_left_out
    assert b"secret" not in path.read_bytes()
    assert "secret" not in run("show", str(path)).stdout
    assert "prompt left out  True" in run("show", str(path)).stdout


def test_rebuild_makes_the_rows_anew(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    drawn = parsed(run("generate", "x", "-n", "3", "--json", *SMALL))["paths"]
    Path(drawn[0]).write_bytes(b"no picture")
    for database in folder.glob("history.sqlite3*"):
        database.unlink()
    result = run("rebuild", "--data-dir", str(folder))
    assert result.exit_code == 0, result.stderr
    assert "2 pictures found." in result.stdout
    assert "1 file could not be read" in result.stdout
    assert parsed(run("rebuild", "--data-dir", str(folder), "--json"))["pictures"] == 2
    history = History(folder)
    assert {row.id for row in (history.picture(Path(p).stem) for p in drawn) if row} == {
        Path(path).stem for path in drawn[1:]
    }
    history.close()


def test_rebuild_waits_for_no_app(run: Run, tmp_path: Path) -> None:
    with closing(AppLock(tmp_path)):
        refused = run("rebuild", "--data-dir", str(tmp_path))
        assert refused.exit_code == 1
        assert "Another sdgen app is using this data folder" in refused.stderr
    assert run("rebuild", "--data-dir", str(tmp_path)).exit_code == 0


def test_a_disk_without_locks_is_not_said_to_be_another_app(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refuse(*asked: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    refused = run("rebuild", "--data-dir", str(tmp_path))
    assert refused.exit_code == 1
    assert "The data folder cannot be used: No locks available." in refused.stderr
