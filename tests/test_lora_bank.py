"""Adapters of requests, from the file to the picture: as diffusers draws them, and never more."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sdgen.adapters.names import Part
from sdgen.config import Settings
from sdgen.engine import LocalEngine
from sdgen.errors import AdapterRefused, AdapterUnavailable
from sdgen.job import Job
from sdgen.models import ModelSpec, find_model
from sdgen.pipelines.base import DenoiseState
from sdgen.pipelines.device import choose_device
from sdgen.pipelines.lora_bank import LoraBank
from sdgen.pipelines.noise_schedulers import noise_scheduler
from sdgen.pipelines.sd import SdPipeline
from sdgen.request import AdapterUse, GenerateRequest
from tests import tiny_models
from tests.sd_steps import PIXEL, SPEC, pixels, relative, run
from tests.tiny_loras import ATTENTION, LOCON, TEXT, lora_file, with_loras

WAIT = 60.0  # seconds; a bound that only a hang reaches
CLOSE = 1e-5  # relative, float32


def wrap(memory_mb: int = 512, spec: ModelSpec = SPEC) -> SdPipeline:
    choice = choose_device("cpu", "float32")
    return SdPipeline(tiny_models.sd1(), spec, choice, "", adapter_memory_mb=memory_mb)


@pytest.fixture(scope="module")
def pipeline() -> SdPipeline:
    return wrap()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight adapters of all layouts, ranks 1 to 128, some with a text encoder, some LoCon."""
    folder = tmp_path_factory.mktemp("loras")
    return [
        lora_file(
            folder / f"{number}.safetensors",
            layout=("peft", "kohya", "diffusers")[number % 3],
            rank=(4, 16, 1, 8, 128, 4, 2, 32)[number],
            alpha=(None, 4.0, 2.0, 8.0, 64.0, 1.0, 3.0, 16.0)[number],
            targets=LOCON if number % 3 == 1 or number == 0 else ATTENTION,
            text=TEXT[:3] if number % 2 else (),
            seed=number,
            size=0.15 / (1, 2, 1, 1, 8, 1, 1, 4)[number],
        )
        for number in range(8)
    ]


def use(path: Path, scale: float = 1.0, text_scale: float | None = None) -> AdapterUse:
    return AdapterUse(name=str(path), scale=scale, text_scale=text_scale)


def ask(*adapters: AdapterUse, **fields: object) -> GenerateRequest:
    given = {"prompt": "a red cat", "seed": 7, "guidance_scale": 5.0, **fields}
    return SPEC.request(adapters=adapters, **given)


def draw(pipeline: SdPipeline, request: GenerateRequest) -> np.ndarray:
    return pixels(pipeline, run(pipeline, pipeline.encode(request)))[0]


def plain(request: GenerateRequest) -> np.ndarray:
    """What diffusers draws with the same files, loaded and set by itself."""
    pipe = tiny_models.sd1()
    if request.adapters:
        with_loras([(Path(u.name), u.scale, u.text_strength) for u in request.adapters], pipe)
    pipe.scheduler = noise_scheduler(request.sampler, pipe.scheduler.config)
    [image] = pipe(
        request.prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        width=request.width,
        height=request.height,
        generator=torch.Generator().manual_seed(request.seed),
    ).images
    return np.asarray(image).astype(int)


def differ(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one - other).max())


# ---- the picture ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(8))
def test_one_adapter_draws_what_diffusers_draws(
    pipeline: SdPipeline, files: list[Path], number: int
) -> None:
    request = ask(use(files[number], 0.8), negative_prompt="the red")
    ours = draw(pipeline, request)
    assert differ(ours, plain(request)) <= PIXEL
    assert differ(ours, draw(pipeline, ask(negative_prompt="the red"))) > 2 * PIXEL


def test_two_adapters_with_text_strengths_of_their_own(
    pipeline: SdPipeline, files: list[Path]
) -> None:
    request = ask(use(files[1], 0.7, -0.5), use(files[3], -0.6, 1.5), negative_prompt="cat")
    assert differ(draw(pipeline, request), plain(request)) <= PIXEL
    reference = with_loras([(files[1], 0.7, -0.5), (files[3], -0.6, 1.5)])
    with torch.inference_mode():
        positive, negative = reference.encode_prompt("a red cat", "cpu", 1, True, "cat")
    found = pipeline.encode(request)[0].conditioning
    assert relative(found.positive, positive) < CLOSE
    assert found.negative is not None
    assert relative(found.negative, negative) < CLOSE


def test_the_text_strength_acts_alone(pipeline: SdPipeline, files: list[Path]) -> None:
    base, text_only, unet_only, both = (
        draw(pipeline, ask(*uses))
        for uses in (
            [],
            [use(files[1], 0.0, 1.5)],
            [use(files[1], 1.5, 0.0)],
            [use(files[1], 1.5)],
        )
    )
    pictures = [base, text_only, unet_only, both]
    for number, one in enumerate(pictures):
        for other in pictures[number + 1 :]:
            assert differ(one, other) > 0
    plain_text = pipeline.encode(ask())[0].conditioning.positive
    without = pipeline.encode(ask(use(files[1], 1.0, 0.0)))[0].conditioning.positive
    assert torch.equal(plain_text, without)


def test_strength_0_is_the_base_and_the_base_stays_bit_identical(
    pipeline: SdPipeline, files: list[Path]
) -> None:
    exact = ask(exact=True)
    state = {name: value.clone() for name, value in pipeline.pipe.unet.state_dict().items()}
    before = draw(pipeline, exact)
    draw(pipeline, ask(use(files[1], -2.0), use(files[0], 2.0)))
    shared = [pipeline.encode(ask(use(path, 1.5), seed=n))[0] for n, path in enumerate(files)]
    run(pipeline, [*shared, *pipeline.encode(ask(seed=99))])
    assert np.array_equal(before, draw(pipeline, exact))
    assert np.array_equal(before, draw(pipeline, ask(use(files[0], 0.0), exact=True)))
    now = pipeline.pipe.unet.state_dict()
    assert list(now) == list(state)
    assert all(torch.equal(state[name], value) for name, value in now.items())
    for part in (pipeline.pipe.unet, pipeline.pipe.text_encoder):
        assert not any(module._forward_hooks for module in part.modules())


def test_states_in_any_order_and_of_all_kinds_share_a_pass(
    pipeline: SdPipeline, files: list[Path]
) -> None:
    requests = [
        ask(use(files[0]), seed=1),
        ask(seed=2, guidance_scale=1.0),
        ask(use(files[1], 0.5), use(files[2], -0.5), seed=3, steps=3),
        ask(use(files[0]), seed=4, guidance_scale=1.0, sampler="dpmpp_2m"),
        ask(seed=5, prompt="a BREAK cat"),
        ask(use(files[7], 1.2, 0.0), seed=6, num_images=2),
        ask(use(files[0], 0.5), seed=8, prompt="cat " * 90),
    ]
    states = [state for request in requests for state in pipeline.encode(request)]
    for order in (states, states[::-1]):
        seen: list[DenoiseState] = [pipeline.encode(s.request)[s.index] for s in order]
        for together, state in zip(run(pipeline, seen), order, strict=True):
            [alone] = run(pipeline, [pipeline.encode(state.request)[state.index]])
            one, other = (pixels(pipeline, [found])[0] for found in (together, alone))
            assert differ(one, other) <= PIXEL


# ---- through the engine -----------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., LocalEngine]]:
    made: list[LocalEngine] = []

    def make(**settings: object) -> LocalEngine:
        def load(spec: ModelSpec) -> SdPipeline:
            return wrap(spec=spec)

        given = {"data_dir": tmp_path, "max_rows": 32, **settings}
        made.append(LocalEngine(Settings(**given), load=load))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def picture(job: Job) -> np.ndarray:
    return np.asarray(job.result(WAIT).images[0].image).astype(int)


def test_eight_users_with_eight_adapters_and_some_with_none_share_one_pass(
    engine: Callable[..., LocalEngine], files: list[Path]
) -> None:
    requests = [
        ask(use(path, 0.9), model="sd15", seed=n, steps=3 + n % 3) for n, path in enumerate(files)
    ]
    requests += [ask(model="sd15", seed=20 + n, guidance_scale=1.0 + n) for n in range(2)]
    one = engine()
    jobs = [one.submit(request) for request in requests]
    for job, request in zip(jobs, requests, strict=True):
        assert differ(picture(job), plain(request)) <= PIXEL
    assert any(job.result(WAIT).images[0].info.shared for job in jobs)


def test_a_refused_adapter_leaves_its_neighbours_untouched(
    engine: Callable[..., LocalEngine], files: list[Path], tmp_path: Path
) -> None:
    broken = lora_file(tmp_path / "zero.safetensors", size=0.0)
    one = engine()
    good = [one.submit(ask(use(files[n]), model="sd15", seed=n)) for n in range(2)]
    bad = one.submit(ask(use(broken), model="sd15"))
    with pytest.raises(AdapterRefused, match="changes nothing"):
        bad.result(WAIT)
    assert all(job.result(WAIT).images for job in good)


# ---- memory -----------------------------------------------------------------------------------


def test_a_resident_adapter_is_not_read_again(pipeline: SdPipeline, tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", seed=50, rank=1, targets=LOCON)
    before = draw(pipeline, ask(use(path)))
    times = path.stat()
    path.write_bytes(b"\x00" * times.st_size)  # whoever reads it now finds no LoRA
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert np.array_equal(before, draw(pipeline, ask(use(path))))
    assert differ(before, draw(pipeline, ask(use(path, -1.0)))) > 0


def test_a_file_that_changed_is_loaded_anew(pipeline: SdPipeline, tmp_path: Path) -> None:
    path = lora_file(tmp_path / "a.safetensors", seed=60)
    [state] = pipeline.encode(ask(use(path)))
    first = draw(pipeline, ask(use(path)))
    lora_file(path, seed=61)
    os.utime(path, ns=(1, 1))
    second = draw(pipeline, ask(use(path)))
    assert differ(first, second) > 0
    assert differ(second, plain(ask(use(path)))) <= PIXEL
    [old] = run(pipeline, [state])  # began with the old file and stays with it
    assert differ(pixels(pipeline, [old])[0], first) == 0
    path.unlink()
    with pytest.raises(AdapterUnavailable, match="not on this machine"):
        pipeline.encode(ask(use(path)))


def test_the_least_recently_used_leave_and_those_in_use_never(tmp_path: Path) -> None:
    pipeline = wrap(memory_mb=0)  # no room at all: only what is in use stays
    paths = [lora_file(tmp_path / f"{n}.safetensors", seed=n) for n in range(3)]
    bank = pipeline._bank
    states = pipeline.encode(ask(use(paths[0])))
    pipeline.encode(ask(use(paths[1])))
    gc.collect()
    states += pipeline.encode(ask(use(paths[2]), use(paths[0], 0.5)))
    assert bank.resident() == (str(paths[2]), str(paths[0]))
    run(pipeline, states)
    assert bank.resident() == (str(paths[2]), str(paths[0]))
    del states
    gc.collect()
    pipeline.encode(ask(use(paths[1])))
    assert bank.resident() == (str(paths[1]),)


def test_with_room_all_stay_and_memory_is_counted(tmp_path: Path) -> None:
    pipeline = wrap(memory_mb=64)
    paths = [lora_file(tmp_path / f"{n}.safetensors", seed=n) for n in range(4)]
    states = [pipeline.encode(ask(use(path), seed=n))[0] for n, path in enumerate(paths)]
    resting = pipeline._bank.bytes
    size = sum(
        value.numel() * 4 for path in paths for value in load_file(path).values() if value.ndim
    )
    assert resting == size
    run(pipeline, states)
    assert pipeline._bank.bytes > resting, "stacks count too"
    assert pipeline._bank.resident() == tuple(str(path) for path in paths)


def bank_of(memory: int) -> LoraBank:
    """A bank with so many bytes."""
    pipe = tiny_models.sd1()
    parts: dict[Part, torch.nn.Module] = {"unet": pipe.unet, "text_encoder": pipe.text_encoder}
    return LoraBank(parts, torch.device("cpu"), torch.float32, memory)


def test_memory_is_filled_to_its_limit_and_no_more_leave_than_must(tmp_path: Path) -> None:
    paths = [str(lora_file(tmp_path / f"{n}.safetensors", seed=n)) for n in range(4)]
    uses = [use(Path(path)) for path in paths]
    plenty = bank_of(2**30)
    plenty.adapters(uses[:1])
    size = plenty.bytes

    def resident_after(memory: int, *asked: int) -> list[int]:
        bank = bank_of(memory)
        for number in asked:
            bank.adapters([uses[number]])  # nobody holds it, so it may leave
        assert bank.bytes <= max(memory, size)
        return [paths.index(path) for path in bank.resident()]

    assert resident_after(2 * size, 0, 1) == [0, 1]
    assert resident_after(2 * size - 1, 0, 1) == [1]
    assert resident_after(3 * size, 0, 1, 2, 3) == [1, 2, 3]
    assert resident_after(3 * size, 0, 1, 2, 0, 3) == [2, 0, 3], "the least recently used"
    assert resident_after(size - 1, 0, 1) == [1], "what a request has just asked for stays"


def test_stacks_leave_before_adapters_and_stay_where_there_is_room(tmp_path: Path) -> None:
    paths = [lora_file(tmp_path / f"{n}.safetensors", seed=n) for n in range(5)]
    plenty = bank_of(2**30)
    sets = [plenty.adapters([use(path)]) for path in paths[:3]]
    size = plenty.bytes // 3
    with plenty.carrying("unet", sets):
        pass
    stacks = plenty.bytes - 3 * size
    assert stacks > size
    plenty.adapters([use(paths[3])])
    assert plenty.bytes == 4 * size + stacks

    for memory, left in ((4 * size + stacks, 4 * size + stacks), (4 * size + stacks - 1, 4 * size)):
        bank = bank_of(memory)
        sets = [bank.adapters([use(path)]) for path in paths[:3]]
        with bank.carrying("unet", sets):
            pass
        assert bank.bytes == 3 * size + stacks
        bank.adapters([use(paths[3])])
        assert bank.bytes == left
        assert len(bank.resident()) == 4


def test_memory_that_runs_out_takes_the_idle_ones_along(tmp_path: Path) -> None:
    pipeline = wrap()
    paths = [lora_file(tmp_path / f"{n}.safetensors", seed=n) for n in range(2)]
    [state] = pipeline.encode(ask(use(paths[0])))
    pipeline.encode(ask(use(paths[1])))
    gc.collect()
    with (
        pytest.raises(torch.OutOfMemoryError),
        pipeline._bank.carrying("unet", [state.adapters]),
    ):
        raise torch.OutOfMemoryError("out of memory")
    assert pipeline._bank.resident() == (str(paths[0]),)
    assert run(pipeline, [state])[0].done


# ---- what is refused --------------------------------------------------------------------------


def rewritten(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t[next(iter(t))].view(-1)[0:1].fill_(float("nan")), "not finite"),
        (lambda t: t[next(iter(t))].view(-1)[0:1].fill_(float("inf")), "not finite"),
        (lambda t: [v.mul_(1e-12) for k, v in t.items() if "lora_B" in k], "changes nothing"),
        (lambda t: [v.mul_(1e20) for v in t.values()], "breaks this model's numbers|not finite"),
        (
            lambda t: t.update({k: torch.ones(*v.shape[:-1], 99) for k, v in t.items()}),
            "halves|fits this model|Nothing",
        ),
    ],
    ids=["nan", "infinity", "nothing", "too large", "other shapes"],
)
def test_what_cannot_work_is_refused_with_the_reason(
    pipeline: SdPipeline,
    tmp_path: Path,
    change: Callable[[dict[str, torch.Tensor]], object],
    words: str,
) -> None:
    path = rewritten(lora_file(tmp_path / "bad.safetensors"), change)
    for _ in range(2):  # the second time it is no better
        with pytest.raises(AdapterRefused, match=words) as caught:
            pipeline.encode(ask(use(path)))
        assert str(tmp_path) not in str(caught.value)
    assert str(path) not in pipeline._bank.resident()
    assert not any(module._forward_hooks for module in pipeline.pipe.unet.modules())


def test_other_kinds_than_lora_are_refused_by_name(pipeline: SdPipeline, tmp_path: Path) -> None:
    path = tmp_path / "oft.safetensors"
    stem = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    save_file({f"{stem}.oft_blocks": torch.ones(4, 8, 8)}, path)
    with pytest.raises(AdapterRefused, match="OFT"):
        pipeline.encode(ask(use(path)))


def test_a_trigger_word_is_known_with_its_adapter(tmp_path: Path) -> None:
    words = find_model("picturebook").words
    assert words is not None
    pipeline = wrap(spec=ModelSpec(**{**vars(SPEC), "words": words}))
    path = lora_file(tmp_path / "a.safetensors")
    save_file(load_file(path), path, {"modelspec.trigger_phrase": "Minnal Murali"})
    prompt = "Minnal Murali in a zyzzyva city"
    with_it = pipeline.check(ask(use(path), prompt=prompt))
    assert with_it == ("This model does not know: zyzzyva.",)
    [without] = pipeline.check(ask(prompt=prompt))
    assert "minnal" in without
