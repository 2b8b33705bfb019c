"""Exported adapters do in diffusers what was trained, say what they are; wrong ones never stay."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lora.__main__ import app as program
from lora.base import Base, load_base
from lora.config import CompleteRecipe, Target
from lora.dataset import load_dataset
from lora.evaluate import read_scores
from lora.evaluate.scores import Choice, Cost, Row, ScoreSheet, write_scores
from lora.export import (
    ExportFailed,
    NoRecipe,
    adapter_from_file,
    export,
    read_trained_recipe,
    recipe_from_file,
)
from lora.export.check import FileCheck, _judge, answers, count_adapters, errors
from lora.export.describe import Facts, adapter_configs, metadata
from lora.export.layouts import kohya_layout, kohya_name, peft_layout, ranks_of, stability_name
from lora.export.loading import load_lora_file
from lora.export.recipe_in_file import TrainedRecipe, public_settings
from lora.export.run import _free_name
from lora.jobs.choice import choose as choose_by_hand
from lora.network import detach, load_adapter_state
from lora.runs import RunFolder
from sdgen.adapters import Catalogue, inspect, verdict
from sdgen.models import find_model
from tests import tiny_models, tiny_sdxl
from tests.lora_runs import make_run, random_state, recipe_for

PROMPTS = ("zmicat", "a cat")
ALL: tuple[Target, ...] = ("attention", "feed_forward", "convolutions")
FAMILIES = {"sd1": tiny_models.sd1, "sd2": tiny_models.sd2, "sdxl": tiny_sdxl.sdxl}


@pytest.fixture(autouse=True)
def _data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGEN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SDGEN_DEVICE", "cpu")


@pytest.fixture(scope="module", params=[*FAMILIES, "picturebook"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A base model by the name that a recipe gives it."""
    if request.param == "picturebook":
        return "picturebook"
    folder = tmp_path_factory.mktemp("model") / request.param
    return str(tiny_models.saved(FAMILIES[request.param](), folder))


def trained(model: str, text_encoder: bool = True) -> tuple[Base, CompleteRecipe, dict[str, Any]]:
    """A base, a recipe with all targets, and an adapter."""
    fields: dict[str, Any] = {"base": model, "targets": list(ALL), "text_encoder": text_encoder}
    base = load_base(recipe_for(**fields, precision="float32"))
    recipe = recipe_for(base, **fields)
    return base, recipe, random_state(base, recipe)


def loaded(base: Base, path: Path) -> tuple[dict[str, torch.Tensor], int]:
    """The base's answers with a file in it that diffusers loaded, and how many modules it fills."""
    load_lora_file(base.pipe, path, "x")
    try:
        return answers(base, PROMPTS), count_adapters(base.pipe)
    finally:
        base.pipe.unload_lora_weights()


def both_layouts(base: Base, state: dict[str, torch.Tensor], folder: Path) -> Iterator[Path]:
    """The adapter as the two files, written without the rest of the export."""
    layers = base.unet.config.layers_per_block if base.is_sdxl else None
    peft = peft_layout(state, torch.float16)
    save_file(peft, folder / "a.safetensors", {"lora_adapter_metadata": adapter_configs(state)})
    yield folder / "a.safetensors"
    save_file(kohya_layout(state, torch.float16, layers), folder / "k.safetensors")
    yield folder / "k.safetensors"


def test_diffusers_reads_both_layouts_as_trained(model: str, tmp_path: Path) -> None:
    base, _, state = trained(model)
    plain = answers(base, PROMPTS)
    load_adapter_state(base, state)
    wanted, modules = answers(base, PROMPTS), count_adapters(base.pipe)
    detach(base)
    assert modules == len(ranks_of(state))
    for path in both_layouts(base, state, tmp_path):
        got, found = loaded(base, path)
        output, move = errors(got, plain, wanted)
        assert found == modules, path.name
        assert output <= 1e-3, path.name
        assert move <= 0.02, path.name
        said = verdict(inspect(path), base.spec)
        assert (said.level, said.share) == ("fits", 1.0), said.sentence


def test_modules_of_different_rank_keep_their_scale(tmp_path: Path) -> None:
    base, _, state = trained("picturebook")
    for number, name in enumerate(sorted(state)):
        if number % 4 < 2:  # A and B of every second module: two of its four ranks
            rows = slice(0, 2)
            state[name] = state[name][rows] if ".lora_A." in name else state[name][:, rows]
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    assert set(ranks_of(state).values()) == {2, 4}
    # diffusers misreads kohya's alphas where they differ; those that we write never do.
    got = loaded(base, next(both_layouts(base, state, tmp_path)))[0]["noise"]
    padded = {}
    for name, tensor in state.items():  # the same with zeros up to rank 4, alpha 4
        missing = 4 - tensor.shape[0 if ".lora_A." in name else 1]
        shape = list(tensor.shape)
        shape[0 if ".lora_A." in name else 1] = missing
        axis = 0 if ".lora_A." in name else 1
        padded[name] = torch.cat([tensor, torch.zeros(shape)], dim=axis) if missing else tensor
    load_adapter_state(base, padded)
    wanted = answers(base, PROMPTS)["noise"]
    torch.testing.assert_close(got, wanted, rtol=2e-3, atol=2e-3)


def test_text_encoders_have_the_level_that_older_tools_expect(model: str) -> None:
    base, _, state = trained(model)
    peft = peft_layout(state, torch.float16)
    text = [key for key in peft if key.startswith("text_encoder")]
    assert text
    assert all(key.split(".")[1:3] == ["text_model", "encoder"] for key in text)
    layers = base.unet.config.layers_per_block if base.is_sdxl else None
    names = {key.partition(".")[0] for key in kohya_layout(state, torch.float16, layers)}
    first, second = ("lora_te1_", "lora_te2_") if base.is_sdxl else ("lora_te_", "lora_te2_")
    assert f"{first}text_model_encoder_layers_0_self_attn_q_proj" in names
    assert any(name.startswith(second) for name in names) == base.is_sdxl
    assert not any("te1_" in name for name in names) or base.is_sdxl


def test_alpha_is_the_rank_and_stands_beside_every_pair() -> None:
    state = {
        "unet.conv_in.lora_A.weight": torch.ones(4, 3),
        "unet.conv_in.lora_B.weight": torch.ones(5, 4),
    }
    kohya = kohya_layout(state, torch.float16)
    assert {k: v.shape for k, v in kohya.items()} == {
        "lora_unet_conv_in.lora_down.weight": (4, 3),
        "lora_unet_conv_in.lora_up.weight": (5, 4),
        "lora_unet_conv_in.alpha": (),
    }
    assert kohya["lora_unet_conv_in.alpha"].item() == 4


@pytest.mark.parametrize(
    ("module", "name"),
    [  # of stabilityai/stable-diffusion-xl-base-1.0, layers_per_block 2, as kohya's files have them
        ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
        ("down_blocks.2.attentions.1.proj_out", "input_blocks.8.1.proj_out"),
        ("mid_block.attentions.0.transformer_blocks.3.attn2.to_out.0",
         "middle_block.1.transformer_blocks.3.attn2.to_out.0"),
        ("up_blocks.0.attentions.2.transformer_blocks.0.attn1.to_v",
         "output_blocks.2.1.transformer_blocks.0.attn1.to_v"),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
        ("mid_block.resnets.1.conv2", "middle_block.2.out_layers.3"),
        ("conv_in", "input_blocks.0.0"),
    ],
)  # fmt: skip
def test_sdxl_names_are_those_of_stabilitys_code(module: str, name: str) -> None:
    assert stability_name(module, 2) == name
    assert kohya_name("unet", module, 2) == f"lora_unet_{name.replace('.', '_')}"


def test_a_damaged_checkpoint_is_refused() -> None:
    with pytest.raises(ExportFailed, match="unknown use"):
        ranks_of({"vae.x.lora_A.weight": torch.ones(2, 2)})
    with pytest.raises(ExportFailed, match="do not match"):
        ranks_of({"unet.x.lora_A.weight": torch.ones(2, 2)})
    with pytest.raises(ExportFailed, match="no tensors"):
        ranks_of({})


# --- the whole export ------------------------------------------------------------------------


def scored(run: RunFolder) -> None:
    row = Row(step=40, strength=1.0, subject=(0.1, 0.2), training=(0.2, 0.3), drift=(0.01, 0.02))
    cost = Cost(seconds=1.0, forward_passes=10, training_steps=5.0)
    choice = Choice(step=40, strength=0.8, reason="It is the only one.")
    sheet = ScoreSheet(
        measured_on="On nothing.", drift_limit=0.2, rows=(row,), cost=cost, choice=choice
    )
    write_scores(run.scores, sheet)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[RunFolder, CompleteRecipe, dict[str, torch.Tensor]]:
    """A run on the bundled model with one checkpoint and scores."""
    _, recipe, state = trained("picturebook")
    recipe = CompleteRecipe.checked(
        **{**recipe.model_dump(mode="json"), "photos": "/home/somebody/holiday pictures"}
    )
    run = make_run(tmp_path / "run-1", recipe, {40: state}, held_out=(7,))
    scored(run)
    return run, recipe, state


def test_export_writes_proves_and_tells(
    finished: tuple[RunFolder, CompleteRecipe, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    run, recipe, state = finished
    data = tmp_path / "data"
    (data / "adapters").mkdir(parents=True)
    somebodys = data / "adapters" / "my-cat.safetensors"
    save_file({"x": torch.ones(1)}, somebodys)
    done = export(run, 40, 0.8, data)
    assert done.adapter == data / "adapters" / "my-cat-2.safetensors"
    assert load_file(somebodys).keys() == {"x"}
    assert _free_name(data / "adapters", "my-cat", run.name) == "my-cat-2"  # its own is replaced
    assert _free_name(data / "adapters", "my-cat", "run-9") == "my-cat-3"
    assert [path.is_file() for path in done.paths] == [True] * 3
    assert [check.name for check in done.checks] == [
        "my-cat.safetensors",
        "my-cat.kohya.safetensors",
    ]
    for check in done.checks:
        assert check.precision == "float32"
        assert 0 < check.output_error <= 1e-3
        assert check.modules == len(ranks_of(state))
    with safe_open(done.adapter, framework="pt") as file:
        said = file.metadata()
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert said["ss_network_dim"] == said["ss_network_alpha"] == "4"
    assert json.loads(said["ss_network_args"]) == {"conv_dim": "4", "conv_alpha": "4"}
    assert said["modelspec.trigger_phrase"] == said["sdgen.trigger"] == "zmicat"
    assert said["sdgen.strength"] == "0.8"
    assert said["modelspec.resolution"] == "64x64"
    assert json.loads(said["ss_tag_frequency"]) == {"1_zmicat cat": {"zmicat": 3, "cat": 3}}
    config = json.loads(said["lora_adapter_metadata"])
    assert config["unet.r"] == config["unet.lora_alpha"] == 4
    kohya = safe_open(done.kohya, framework="pt").metadata()
    assert "lora_adapter_metadata" not in kohya
    assert kohya["sshs_model_hash"] == kohya["modelspec.hash_sha256"].removeprefix("0x")
    private = json.dumps([said, kohya])
    for secret in ("private-name", "holiday", "somebody", "at place", str(tmp_path)):
        assert secret not in private

    made = read_trained_recipe(done.adapter)
    photos = load_dataset(run.photos)
    assert made.photos == tuple(one.id for one in photos.examples)
    assert made.held_out == (photos.held_out[0].id,)
    assert made.captions is None
    assert made.step == 40
    assert made.scores is not None
    assert made.scores.choice.strength == 0.8
    again = recipe_from_file(done.adapter, photos=recipe.photos)
    assert again.to_json() == recipe.to_json()
    assert recipe_from_file(done.kohya).photos == ""
    (report,) = [one for one in Catalogue(data).list() if one.name == "my-cat-2"]
    assert (report.source, report.strength, report.triggers) == ("trained", 0.8, ("zmicat",))
    assert (report.title, report.base, report.ranks) == ("My Cat", "picturebook", (4,))
    assert verdict(report, find_model("picturebook")).share == 1.0
    assert verdict(inspect(done.kohya), find_model("picturebook")).share == 1.0
    back = adapter_from_file(done.adapter)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name].half().float()) for name in state)
    with pytest.raises(ExportFailed, match="other"):
        adapter_from_file(done.kohya)


def test_captions_are_told_only_where_they_may_be() -> None:
    recipe = recipe_for()
    settings = public_settings(recipe)
    told = TrainedRecipe(
        settings=settings, base_hash="ab", versions={}, photos=("cd",) * 2, step=1, strength=1.0,
        sample_seed=1, captions=("zmicat, on a sofa", "zmicat, in a tree"),
    )  # fmt: skip
    tensors = {"unet.x.lora_A.weight": torch.ones(4, 3), "unet.x.lora_B.weight": torch.ones(5, 4)}

    def tags(made: TrainedRecipe) -> object:
        facts = Facts(recipe, made, "sd1", "SD", velocity=False, sizes=((64, 64),))
        return json.loads(metadata(facts, tensors, "peft", tensors)["ss_tag_frequency"])

    assert tags(told) == {"1_zmicat cat": {"zmicat": 2, "on a sofa": 1, "in a tree": 1}}
    kept = told.model_copy(update={"captions": None})
    assert tags(kept) == {"1_zmicat cat": {"zmicat": 2, "cat": 2}}


def test_an_adapter_that_changes_nothing_is_not_exported(tmp_path: Path) -> None:
    _, recipe, state = trained("picturebook", text_encoder=False)
    still = {n: torch.zeros_like(t) if ".lora_B." in n else t for n, t in state.items()}
    huge = {n: t * 1e8 if ".lora_B." in n else t for n, t in state.items()}
    run = make_run(tmp_path / "run", recipe, {1: still, 2: huge})
    with pytest.raises(ExportFailed, match="changes nothing"):
        export(run, 1, 1.0, tmp_path / "data")
    with pytest.raises(ExportFailed, match="earlier step"):
        export(run, 2, 1.0, tmp_path / "data")
    assert not (tmp_path / "data" / "adapters").exists()
    assert not run.exports.exists()


@pytest.mark.slow
def test_a_file_that_is_not_what_was_trained_stays_nowhere(
    finished: tuple[RunFolder, CompleteRecipe, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    """The base given to compare with holds other weights than that which the file is checked on."""
    run, recipe, _ = finished
    base = load_base(recipe)
    with torch.no_grad():
        base.unet.conv_out.weight.mul_(1.5)
    with pytest.raises(ExportFailed, match="the base answers otherwise"):
        export(run, 40, 1.0, tmp_path / "data", base=base)
    assert not (tmp_path / "data" / "adapters").exists()
    assert not run.exports.exists()


@pytest.mark.parametrize("wrong", ["alpha", "lost part", "other step"])
def test_the_check_finds_what_is_wrong(
    wrong: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tiny_models.saved(tiny_models.sd1(), tmp_path_factory.mktemp("model") / "sd1")
    base, _, state = trained(str(folder))
    plain = answers(base, PROMPTS)
    load_adapter_state(base, state)
    wanted, modules = answers(base, PROMPTS), count_adapters(base.pipe)
    detach(base)
    written = kohya_layout(state, torch.float16)
    if wrong == "alpha":
        written = {k: t * 0.9 if k.endswith(".alpha") else t for k, t in written.items()}
    elif wrong == "lost part":
        written = {k: t for k, t in written.items() if not k.startswith("lora_te_")}
    else:
        written = {k: t * 1.05 if ".lora_up." in k else t for k, t in written.items()}
    save_file(written, tmp_path / "k.safetensors")
    got, found = loaded(base, tmp_path / "k.safetensors")
    output, move = errors(got, plain, wanted)
    with pytest.raises(ExportFailed, match=r"k\.safetensors is wrong"):
        _judge(FileCheck("k.safetensors", output, move, found, "float32"), modules)


def test_files_of_others_carry_no_recipe(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(NoRecipe, match="not trained by sdgen"):
        recipe_from_file(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_text("no")
    with pytest.raises(NoRecipe, match="cannot be read"):
        recipe_from_file(tmp_path / "y.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "z.safetensors", {"sdgen.recipe": "{}"})
    with pytest.raises(NoRecipe, match="damaged"):
        recipe_from_file(tmp_path / "z.safetensors")


@pytest.mark.slow
def test_another_choice_is_exported_and_the_scores_say_by_whom(
    finished: tuple[RunFolder, CompleteRecipe, dict[str, torch.Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, _, _ = finished
    monkeypatch.setenv("SDGEN_DATA_DIR", str(tmp_path / "data"))
    step = run.saved_steps()[0]
    choose_by_hand(run, step, 0.7)
    status = run.read_status()
    assert (status.state, status.best_step, status.best_strength) == ("done", step, 0.7)
    assert all(Path(path).is_file() for path in status.files)
    assert (read_scores(run).choice.by, read_scores(run).choice.step) == ("user", step)
    scores = run.scores.read_bytes()
    choose_by_hand(run, 12345, 0.7)
    assert "12345" in run.read_status().message
    assert run.read_status().best_step == step
    assert run.scores.read_bytes() == scores


@pytest.mark.slow
def test_a_run_that_was_not_measured_is_exported_where_both_are_given(
    finished: tuple[RunFolder, CompleteRecipe, dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    run, _, _ = finished
    step = run.saved_steps()[0]
    scores = run.scores.read_bytes() if run.scores.is_file() else None
    run.scores.unlink(missing_ok=True)
    line = ["export", str(run.path), "--data-dir", str(tmp_path)]
    try:
        for given, what in (
            ([], "give both"),
            (["--step", str(step)], "give both"),
            (["--step", "12345", "--strength", "1.0"], "no checkpoint of step 12345"),
            (["--step", str(step), "--strength", "0"], "more than 0"),
        ):
            refused = CliRunner().invoke(program, [*line, *given])
            assert refused.exit_code == 1
            assert what in " ".join(refused.stderr.split())
        done = CliRunner().invoke(program, [*line, "--step", str(step), "--strength", "1.0"])
        assert done.exit_code == 0, done.stderr
        assert not run.scores.exists(), "nothing was measured"
    finally:
        if scores is not None:
            run.scores.write_bytes(scores)
    paths = [Path(path) for path in done.stdout.split()]
    assert len(paths) == 3
    assert all(path.is_file() for path in paths)
    status = run.read_status()
    assert (status.state, status.best_step, status.best_strength) == ("done", step, 1.0)
    assert status.reason == f"Step {step} at strength 1 was chosen by hand."
