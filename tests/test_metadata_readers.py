"""Recipes of other programs, read by what a file holds, or named by the program."""

import json
from pathlib import Path

import pytest

from sdgen.errors import PictureUnreadable
from sdgen.metadata import Recipe, RecipeAdapter, form_fields, read_recipe, recipe_from_parameters
from tests.picture_texts import comment, exif_of, hidden_in, png_with, saved

CASES = Path(__file__).parent / "cases" / "recipes"


def values(recipe: Recipe, *names: str) -> tuple[object, ...]:
    return tuple(getattr(recipe, name) for name in names)


def told(recipe: Recipe) -> str:
    return " ".join(form_fields(recipe, set()).notes)


# --- the cases from the field

RIGHT: dict[str, dict[str, object]] = {
    "template-lines.png": {
        "prompt": "a watercolour (lighthouse:1.1), calm sea", "negative_prompt": "fog, text",
        "steps": 20, "sampler": "euler_a", "guidance_scale": 7.0, "seed": 4021,
        "width": 512, "height": 768,
    },
    "sdnext-pipes.png": {
        "prompt": "a lemon on a blue plate", "negative_prompt": "(worst quality:2), text",
        "steps": 25, "seed": 1879, "sampler": "euler_a", "guidance_scale": 7.0,
        "width": 768, "height": 512, "clip_skip": 1, "model": "someModel_v1",
    },
    "civitai-json-with-seed-inside.png": {
        "prompt": "a small boat", "negative_prompt": "fog", "seed": 3313626210, "steps": 28,
        "sampler": "euler_a", "width": 832, "height": 1216, "model_hash": "6ce0161689",
    },
    "one-line.jpg": {
        "prompt": "a fox in the snow", "negative_prompt": "text, blurry", "steps": 22,
        "guidance_scale": 6.5, "seed": 99, "width": 640, "height": 896, "model": "someModel",
    },
    "utf16le-chinese.jpg": {
        "prompt": "狐狸在雪地里 🦊", "negative_prompt": "文字", "steps": 22, "seed": 99,
    },
    "utf8-behind-unicode-mark.jpg": {
        "prompt": "a café in the rain", "negative_prompt": "text", "seed": 99,
    },
    "swarmui.png": {
        "app": "SwarmUI 0.9.7.1", "prompt": "a red kite over dunes",
        "negative_prompt": "text, blurry", "seed": 1145082517, "steps": 30,
        "guidance_scale": 5.5, "width": 832, "height": 1216, "sampler": "Euler a Karras",
        "adapters": (RecipeAdapter(name="styles/inkwash", scale=0.7),),
    },
    "fooocus-json.png": {
        "app": "Fooocus v2.5.5", "prompt": "a red kite over dunes", "negative_prompt": "text",
        "steps": 30, "guidance_scale": 4.0, "width": 896, "height": 1152, "seed": 2842735301,
        "clip_skip": 1, "model": "someXL_v8",
        "adapters": (RecipeAdapter(name="offset_1.0", scale=0.1, sha256="4852686128"),),
    },
    "fooocus-a1111-ifd0.jpg": {
        "app": "Fooocus v2.5.5", "prompt": "a red kite over dunes, cinematic", "steps": 30,
        "seed": 2842735301, "width": 896, "height": 1152, "guidance_scale": 4.0,
        "sampler": "dpmpp_2m_karras",
        "adapters": (RecipeAdapter(name="offset_1.0", scale=0.1, sha256="4852686128"),),
    },
    "invokeai.png": {
        "app": "InvokeAI 5.4.3", "prompt": "dark abstract colours", "negative_prompt": "frame",
        "steps": 50, "guidance_scale": 15.0, "seed": 1554095076, "width": 832, "height": 1216,
        "sampler": "euler", "model": "someXL", "notes": (),
    },
    "comfyui.png": {
        "app": "ComfyUI", "prompt": "(cat:1.2) on a log", "negative_prompt": "blurry",
        "seed": 1102676403634909, "steps": 20, "guidance_scale": 8.0,
        "sampler": "dpmpp_2m_karras", "width": 512, "height": 768, "model": "some", "notes": (),
    },
    "stealth-alpha.png": {
        "prompt": "a harbour at dawn", "negative_prompt": "text", "steps": 20, "seed": 4021,
        "width": 256, "height": 256,
    },
    "karras-twice.png": {"sampler": "dpmpp_2m_karras", "seed": 12345, "notes": ()},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(RIGHT))
def test_the_cases_from_the_field(name: str) -> None:
    recipe = read_recipe(CASES / name)
    assert {key: getattr(recipe, key) for key in RIGHT[name]} == RIGHT[name]
    assert not recipe.ours


def test_every_case_has_its_right_answer() -> None:
    assert {path.name for path in CASES.iterdir()} == set(RIGHT)


def test_what_the_cases_do_not_take_over_is_named() -> None:
    assert "Template, Negative Template" in told(read_recipe(CASES / "template-lines.png"))
    (moods,) = read_recipe(CASES / "civitai-json-with-seed-inside.png").adapters
    assert (moods.name, moods.scale) == ("Moods, Seed: 12, Steps: 4, Size: 64x64 pack", 0.65)
    notes = told(read_recipe(CASES / "swarmui.png"))
    assert "“Euler a Karras” is not known here" in notes
    assert "“styles/inkwash” (strength 0.7)" in notes
    assert "styles" in told(read_recipe(CASES / "fooocus-json.png"))
    assert "more than 32 bits" in told(read_recipe(CASES / "comfyui.png"))


# --- A1111 and its kin

LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x768"


@pytest.mark.parametrize(
    "text",
    [
        f"a cat\nNegative prompt: dog, fish\n{LINE}",
        f"a cat\r\nNegative prompt: dog, fish\r\n{LINE}\r\n",
        f"a cat\n{LINE}\nNegative prompt: dog, fish",
        f"a cat Negative prompt: dog, fish {LINE}",
        f"a cat\nNegative prompt: dog, fish {LINE}",
        f"a cat, Negative prompt: dog, fish, {LINE}",
        f"Prompt: a cat\nNegative Prompt: dog, fish\n{LINE}",
        f"a cat | Negative prompt: dog, fish | {LINE.replace(', ', ' | ')}",
        f"a cat\nNegative prompt: dog, fish\n{LINE.replace(', ', '; ')}",
        f"a cat\nNegative prompt: dog, fish\n{LINE.replace(', ', '. ')}",
        f"a cat\nNegative prompt: dog, fish\n{LINE.lower()}",
        f"a cat\nNegative prompt: dog, fish\n{LINE.replace(', ', chr(10))}",
        f"a cat\nNegative prompt: dog, fish\nVersion: 1, Pipeline: Original,\n{LINE}",
        f"a cat\nNegative prompt: dog, fish\n{LINE}\nTemplate: a {{cat|dog}}, x: 1, Model: y",
        f"a cat\nNegative prompt: dog, fish\n\n{LINE}\n\nmade by hand",
        f"a cat\nNegative prompt: dog, fish\n{LINE}, Tags: {{broken, Hires prompt: \"a, Seed: 9\"",
    ],
)  # fmt: skip
def test_the_settings_are_found_wherever_they_stand(text: str) -> None:
    recipe = recipe_from_parameters(text)
    assert values(recipe, "prompt", "negative_prompt") == ("a cat", "dog, fish")
    assert values(recipe, "steps", "sampler", "guidance_scale", "seed", "width", "height") == (
        20, "euler_a", 7.0, 1, 512, 768,
    )  # fmt: skip
    assert not any("Steps:" in note or "{" in note for note in recipe.notes)


def test_a_prompt_may_look_like_settings() -> None:
    words = "a poster, Steps: of stone, Seed: pods, Size: huge"
    recipe = recipe_from_parameters(f"{words}\nNegative prompt: x\n{LINE}")
    assert values(recipe, "prompt", "seed", "steps") == (words, 1, 20)
    words = "Model: a woman, Size: big, Version: two"
    assert recipe_from_parameters(words).prompt == words
    alone = recipe_from_parameters("Photo: a cat, Size: big, Model: old car")
    assert values(alone, "prompt", "model") == ("Photo: a cat, Size: big, Model: old car", "")


def test_what_ends_up_in_a_prompt_is_said() -> None:
    assert "“Steps:”" in told(recipe_from_parameters("look: Steps: 1\nSeed: 5"))
    assert "“{”" in told(recipe_from_parameters(f"a {{red|blue}} cat\n{LINE}"))
    assert "negative prompt holds “{”" in told(
        recipe_from_parameters(f"cat\nNegative prompt: {{bad}}\n{LINE}")
    )
    assert "holds" not in told(recipe_from_parameters(f"a cat\n{LINE}"))


def test_unknown_settings_are_named_and_counted() -> None:
    many = ", ".join(f"Extra {number}: {number}" for number in range(30))
    notes = told(recipe_from_parameters(f"cat\n{LINE}, {many}"))
    assert "Extra 0, Extra 1" in notes
    assert "and 10 more" in notes


def test_forge_and_its_schedule() -> None:
    recipe = recipe_from_parameters(
        "cat\nSteps: 4, Sampler: Euler, Schedule type: Simple, CFG scale: 1, "
        "Seed: 18446744073709551615, Size: 1024x1024, Version: f2.0.1v1.10.1, "
        "Distilled CFG Scale: 3.5"
    )
    assert values(recipe, "app", "sampler") == ("Forge f2.0.1v1.10.1", "euler")
    assert recipe.seed == 2**64 - 1
    assert "Distilled CFG Scale" in told(recipe)
    assert "“Simple” was read as the model's own spacing" in told(recipe)


def test_minus_one_is_a_wish_for_a_new_seed() -> None:
    recipe = recipe_from_parameters(f"cat\n{LINE.replace('Seed: 1', 'Seed: -1')}")
    assert recipe.seed is None
    assert "wish for a new one" in told(recipe)


@pytest.mark.parametrize(
    ("tags", "adapters", "said"),
    [
        ("<lora:x:1:lbw=IN02> <lora:y:0.5>", [("x", 1.0, None), ("y", 0.5, None)], "lbw=IN02"),
        ("<lora:x:0.8:0,0,1,1,1>", [("x", 0.8, None)], "block weights"),
        ("<lora:x:0.8:0.5:OUTALL>", [("x", 0.5, 0.8)], "OUTALL"),
        ("<lora:x:0.8:lbw=1,0:start=4> <lora:y:1>", [("x", 0.8, None), ("y", 1.0, None)], "start"),
        ("<lora:x:1:1:4>", [("x", 1.0, None)], "a rank or a step"),
        ("<lyco:x:0.7> <lora:y:-3>", [("x", 0.7, None), ("y", -3.0, None)], ""),
        ("<hypernet:h:1> <lora:y:1>", [("y", 1.0, None)], "hypernetworks"),
        ("<lora:x:70> <lora:y:10>", [("y", 10.0, None)], "beyond 10"),
        ("<lora:x:1> <lora:x:2> <lora:y:1>", [("x", 1.0, None), ("y", 1.0, None)], "for twice"),
        ("<lora:x:strong> <lora:y:1>", [("x", 1.0, None), ("y", 1.0, None)], "strong"),
        ("<lora:y:1> <lora:open", [("y", 1.0, None)], "not closed"),
    ],
)  # fmt: skip
def test_one_odd_tag_leaves_the_others_read(
    tags: str, adapters: list[tuple[str, float, float | None]], said: str
) -> None:
    recipe = recipe_from_parameters(f"a cat {tags}\nNegative prompt: dog\n{LINE}")
    assert [(a.name, a.scale, a.text_scale) for a in recipe.adapters] == adapters
    assert recipe.prompt.startswith("a cat")
    assert said in " ".join(recipe.notes)


def test_a_tag_in_the_negative_prompt_is_left_out_and_said() -> None:
    recipe = recipe_from_parameters(f"a cat\nNegative prompt: bad <lora:z:1>\n{LINE}")
    assert recipe.negative_prompt == "bad"
    assert "“z”" in told(recipe)


def test_hashes_of_adapters_come_from_either_place() -> None:
    recipe = recipe_from_parameters(
        f'cat <lora:x:1> <lora:y:1>\n{LINE}, Lora hashes: "x: aabbccddeeff", '
        'Hashes: {"lora:y": "0123456789", "model": "6ce0161689"}'
    )
    assert [adapter.sha256 for adapter in recipe.adapters] == ["aabbccddeeff", "0123456789"]
    assert recipe.model_hash == "6ce0161689"


def test_civitai_resources_beside_tags_count_once() -> None:
    resources = json.dumps(
        [
            {"type": "checkpoint", "modelVersionId": 1, "modelName": "Base"},
            {"type": "lora", "weight": 0.8, "modelName": "X, the LoRA"},
            {"type": "lora", "weight": 0.3, "modelVersionId": 77},
            {"type": "embed", "modelName": "bad hands"},
        ]
    )
    recipe = recipe_from_parameters(f"cat <lora:x:0.8>\n{LINE}, Civitai resources: {resources}")
    assert [(a.name, a.scale) for a in recipe.adapters] == [
        ("x", 0.8),
        ("CivitAI version 77", 0.3),
    ]
    assert "embed bad hands" in told(recipe)


def test_adapters_of_the_additional_networks_extension() -> None:
    recipe = recipe_from_parameters(
        f"cat\n{LINE}, AddNet Enabled: True, AddNet Module 1: LoRA, "
        "AddNet Model 1: moods(1a2b3c4d5e6f), AddNet Weight A 1: 0.7, AddNet Weight B 1: 0.4"
    )
    assert recipe.adapters == (
        RecipeAdapter(name="moods", scale=0.7, text_scale=0.4, sha256="1a2b3c4d5e6f"),
    )


@pytest.mark.parametrize(
    ("version", "app"),
    [
        ("v1.10.1", "A1111 v1.10.1"),
        ("1.6.0-RC", "A1111 1.6.0-RC"),
        ("neo", "Forge neo"),
        ("stable-diffusion.cpp", "stable-diffusion.cpp"),
        ("ComfyUI", "ComfyUI"),
    ],
)
def test_the_program_is_told_by_its_version(version: str, app: str) -> None:
    assert recipe_from_parameters(f"cat\n{LINE}, Version: {version}").app == app


# --- SwarmUI, Fooocus, InvokeAI, NovelAI, Easy Diffusion, Draw Things


def test_swarmui_in_every_spelling(tmp_path: Path) -> None:
    asked = {
        "prompt": "a <lora:in-prompt:0.5> kite", "seed": 5, "steps": 9, "cfgscale": 4,
        "width": 64, "height": 128, "comfyuisampler": "dpmpp_2m", "comfyuischeduler": "karras",
        "loras": "one,two.safetensors", "loraweights": "0.5,-2", "loratencweights": "0.1,-2",
        "clipstopatlayer": -2, "model": "M.safetensors", "refinersteps": 20,
    }  # fmt: skip
    models = [{"name": "two.safetensors", "param": "loras", "hash": "0x" + "ab" * 32}]
    text = json.dumps({"sui_image_params": asked, "sui_models": models})
    for path in (
        png_with(tmp_path / "a.png", {"parameters": text}),
        saved(tmp_path / "a.jpg", "JPEG", exif=exif_of({0x0110: text})),  # as its first versions
        saved(tmp_path / "b.jpg", "JPEG", exif=comment(b"UNICODE\0" + text.encode("utf-16-le"))),
    ):
        recipe = read_recipe(path)
        assert values(recipe, "prompt", "seed", "sampler", "clip_skip", "model") == (
            "a kite", 5, "dpmpp_2m_karras", 1, "M",
        )  # fmt: skip
        assert recipe.adapters == (
            RecipeAdapter(name="one", scale=0.5, text_scale=0.1),
            RecipeAdapter(name="two", scale=-2.0, sha256="ab" * 32),
            RecipeAdapter(name="in-prompt", scale=0.5),
        )
        assert "refinersteps" in told(recipe)


def test_swarmuis_own_notation_is_said(tmp_path: Path) -> None:
    text = json.dumps({"sui_image_params": {"prompt": "x <segment:face> y", "seed": -1}})
    recipe = read_recipe(png_with(tmp_path / "a.png", {"parameters": text}))
    assert (recipe.prompt, recipe.seed) == ("x <segment:face> y", None)
    assert "“<segment:”, a notation that is not known" in told(recipe)
    assert "wish for a new one" in told(recipe)


def test_fooocus_older_logs_and_its_kin(tmp_path: Path) -> None:
    log = {
        "Prompt": "a kite", "Negative Prompt": "text", "Styles": "['x']", "Performance": "Speed",
        "Resolution": "(896, 1152)", "Guidance Scale": 4, "Base Model": "m.safetensors",
        "Sampler": "euler", "Scheduler": "normal", "Seed": 7, "Steps": 30,
        "LoRA 1": "one.safetensors : 0.3", "Version": "v2.1.865",
    }  # fmt: skip
    recipe = read_recipe(saved(tmp_path / "a.jpg", "JPEG", comment=json.dumps(log).encode()))
    assert values(recipe, "app", "prompt", "sampler", "seed", "width", "model") == (
        "Fooocus v2.1.865", "a kite", "euler", 7, 896, "m",
    )  # fmt: skip
    assert recipe.adapters == (RecipeAdapter(name="one", scale=0.3),)
    ruined = {
        "Prompt": "a kite", "Negative": "text", "steps": 20, "cfg": 6, "width": 64, "height": 128,
        "seed": 8, "sampler_name": "dpmpp_2m", "scheduler": "karras",
        "base_model_name": "m.safetensors", "loras": [["0.4", "two.safetensors"]],
        "software": "RuinedFooocus",
    }  # fmt: skip
    recipe = read_recipe(png_with(tmp_path / "a.png", {"parameters": json.dumps(ruined)}))
    assert values(recipe, "app", "negative_prompt", "guidance_scale", "height") == (
        "RuinedFooocus", "text", 6.0, 128,
    )  # fmt: skip
    assert recipe.adapters == (RecipeAdapter(name="two", scale=0.4),)


def test_fooocus_json_in_the_first_directory_of_a_webp(tmp_path: Path) -> None:
    told_json = json.dumps({"prompt": "a kite", "metadata_scheme": "fooocus", "seed": "7",
                            "lora_combined_1": "True : one : 0.3",
                            "lora_combined_2": "False : two : 0.3"})  # fmt: skip
    exif = exif_of({0x9286: told_json, 0x0131: "Fooocus v2.5.5", 0x927C: "fooocus"})
    recipe = read_recipe(saved(tmp_path / "a.webp", "WEBP", exif=exif))
    assert values(recipe, "prompt", "seed") == ("a kite", 7)
    assert recipe.adapters == (RecipeAdapter(name="one", scale=0.3),)


def test_invokeai_current_and_older(tmp_path: Path) -> None:
    current = {
        "positive_prompt": "a bowl, red++", "negative_prompt": "", "seed": 3, "steps": 30,
        "cfg_scale": 7.5, "scheduler": "dpmpp_2m_k", "width": 64, "height": 128, "clip_skip": 1,
        "model": {"key": "k", "hash": "blake3:00", "name": "m", "base": "sd-1", "type": "main"},
        "loras": [{"model": {"name": "one", "hash": "blake3:11"}, "weight": 0.75},
                  {"lora": {"model_name": "two"}, "weight": -0.5}],
        "controlnets": [{"x": 1}], "generation_mode": "txt2img", "app_version": "5.0.0",
    }  # fmt: skip
    recipe = read_recipe(png_with(tmp_path / "a.png", {"invokeai_metadata": json.dumps(current)}))
    assert values(recipe, "sampler", "clip_skip", "model", "model_hash") == (
        "dpmpp_2m_karras", 1, "m", "",
    )  # fmt: skip
    assert recipe.adapters == (
        RecipeAdapter(name="one", scale=0.75),
        RecipeAdapter(name="two", scale=-0.5),
    )
    assert "controlnets" in told(recipe)
    assert "InvokeAI's weights" in told(recipe)
    older = {
        "app_id": "invoke-ai/InvokeAI", "app_version": "2.3.0", "model_weights": "m",
        "model_hash": "56d1442a0f", "image": {
            "prompt": [{"prompt": "a bowl [red, blue] on a table", "weight": 1.0}], "steps": 50,
            "cfg_scale": 5, "height": 768, "width": 512, "seed": 9, "sampler": "k_euler_a"},
    }  # fmt: skip
    dream = '"a bowl [red, blue] on a table" -s 50 -S 9 -W 512 -H 768 -C 5 -A k_euler_a -G 0.9'
    first = "a bowl [red, blue] on a table -s50 -S9 -W512 -H768 -C5 -Ak_euler_a -G0.9"
    for texts in ({"sd-metadata": json.dumps(older)}, {"Dream": dream}, {"Dream": first}):
        recipe = read_recipe(png_with(tmp_path / "b.png", texts))
        assert values(recipe, "prompt", "negative_prompt", "steps", "seed", "sampler") == (
            "a bowl on a table", "red, blue", 50, 9, "euler_a",
        )  # fmt: skip
        assert values(recipe, "width", "height", "guidance_scale") == (512, 768, 5.0)
    assert "-G" in told(recipe)
    quoted = read_recipe(png_with(tmp_path / "c.png", {"Dream": r'"a \"big\" - cat" -s 5 -S 1'}))
    assert values(quoted, "prompt", "steps") == ('a "big" - cat', 5)


NOVELAI = {
    "prompt": "1girl, {smiling}", "steps": 28, "height": 1216, "width": 832, "scale": 5.0,
    "seed": 4012345678, "noise_schedule": "karras", "sampler": "k_dpmpp_2m", "uc": "lowres",
    "v4_prompt": {"caption": {"base_caption": "1girl", "char_captions": [{}]}}, "strength": 0.7,
}  # fmt: skip


def test_novelai_in_chunks_and_in_hidden_pixels(tmp_path: Path) -> None:
    around = {
        "Title": "NovelAI generated image", "Description": "1girl, {smiling}",
        "Software": "NovelAI", "Source": "NovelAI Diffusion V4 37442FCA",
        "Comment": json.dumps(NOVELAI),
    }  # fmt: skip
    for path in (
        png_with(tmp_path / "a.png", around),
        hidden_in(tmp_path / "b.png", json.dumps(around)),
        hidden_in(tmp_path / "c.webp", json.dumps(around), kind="WEBP"),
    ):
        recipe = read_recipe(path)
        assert values(recipe, "app", "prompt", "negative_prompt", "seed", "steps") == (
            "NovelAI", "1girl, {smiling}", "lowres", 4012345678, 28,
        )  # fmt: skip
        assert values(recipe, "sampler", "guidance_scale", "width", "height", "model") == (
            "dpmpp_2m_karras", 5.0, 832, 1216, "NovelAI Diffusion V4 37442FCA",
        )  # fmt: skip
        for words in ("NovelAI's weights", "1 characters of their own", "strength"):
            assert words in told(recipe)


def test_novelai_of_2022_has_the_size_of_its_picture(tmp_path: Path) -> None:
    old = {"steps": 50, "sampler": "k_euler_ancestral", "seed": 2, "strength": 0.4, "noise": 0.0,
           "scale": 10.0, "uc": "lowres"}  # fmt: skip
    texts = {"Software": "NovelAI", "Description": "a cat ", "Comment": json.dumps(old)}
    recipe = read_recipe(png_with(tmp_path / "a.png", texts, size=(40, 24)))
    assert values(recipe, "prompt", "width", "height", "sampler") == ("a cat", 40, 24, "euler_a")


EASY = {
    "prompt": "a hill", "negative_prompt": "text", "seed": 5, "num_inference_steps": 25,
    "guidance_scale": 7.5, "width": 512, "height": 768, "sampler_name": "dpmpp_2m",
    "use_stable_diffusion_model": "C:\\Users\\me\\models\\stable-diffusion\\m.safetensors",
    "clip_skip": True, "use_lora_model": ["one", "two"], "lora_alpha": [0.4, 0.9],
    "use_vae_model": "vae-ft", "use_upscale": None, "tiling": "none",
}  # fmt: skip
EASY_TEXT = """Prompt: a hill
Negative Prompt: text
Seed: 5
Stable Diffusion model: C:\\Users\\me\\models\\stable-diffusion\\m.safetensors
Clip Skip: True
VAE model: vae-ft
Sampler: dpmpp_2m
Width: 512
Height: 768
Steps: 25
Guidance Scale: 7.5
LoRA model: one, two
LoRA Strength: 0.4, 0.9
Seamless Tiling: none"""


def test_easy_diffusion_as_json_chunks_and_text(tmp_path: Path) -> None:
    chunks = {name: str(value) for name, value in EASY.items()}
    raw = b"UNICODE\0" + json.dumps(EASY).encode("utf-16-be")
    for path in (
        png_with(tmp_path / "a.png", chunks),
        saved(tmp_path / "a.jpg", "JPEG", exif=comment(raw)),
        png_with(tmp_path / "b.png", {"parameters": EASY_TEXT}),
    ):  # fmt: skip
        recipe = read_recipe(path)
        assert values(recipe, "app", "prompt", "negative_prompt", "seed", "steps") == (
            "Easy Diffusion", "a hill", "text", 5, 25,
        )  # fmt: skip
        assert values(recipe, "sampler", "width", "height", "clip_skip", "model") == (
            "dpmpp_2m_karras", 512, 768, 1, "m",
        )  # fmt: skip
        assert [(a.name, a.scale) for a in recipe.adapters] == [("one", 0.4), ("two", 0.9)]
        assert "VAE model" in told(recipe)
        assert "Users" not in recipe.model_dump_json()


def test_draw_things_in_xmp(tmp_path: Path) -> None:
    data = {"c": "a hill & sea", "uc": "text", "seed": 5, "steps": 8, "scale": 1.5,
            "sampler": "Euler A Trailing", "size": "512x768", "model": "m.ckpt",
            "lora": [{"model": "one_lora_f16.ckpt", "weight": 0.6}], "shift": 3}  # fmt: skip
    escaped = json.dumps(data).replace("&", "&amp;").replace('"', "&quot;")
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description><exif:UserComment><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{escaped}</rdf:li></rdf:Alt></exif:UserComment>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    for path in (
        png_with(tmp_path / "a.png", {"XML:com.adobe.xmp": xmp}, kind="iTXt"),
        saved(tmp_path / "a.jpg", "JPEG", xmp=xmp.encode()),
        saved(tmp_path / "a.webp", "WEBP", xmp=xmp.encode()),
    ):
        recipe = read_recipe(path)
        assert values(recipe, "app", "prompt", "negative_prompt", "seed", "guidance_scale") == (
            "Draw Things", "a hill & sea", "text", 5, 1.5,
        )  # fmt: skip
        assert values(recipe, "sampler", "width", "height", "model") == ("euler_a", 512, 768, "m")
        assert recipe.adapters == (RecipeAdapter(name="one_lora_f16", scale=0.6),)
        assert "shift" in told(recipe)


def test_json_of_an_unknown_program_is_read_by_its_names(tmp_path: Path) -> None:
    asked = {"prompt": "a hill", "negative_prompt": "text", "cfg_scale": 6, "steps": 9, "seed": 5,
             "sampler_name": "Euler a", "width": 64, "height": 128, "enable_hr": True}  # fmt: skip
    recipe = read_recipe(png_with(tmp_path / "a.png", {"parameters": json.dumps(asked)}))
    assert values(recipe, "prompt", "sampler", "steps", "guidance_scale", "height") == (
        "a hill", "euler_a", 9, 6.0, 128,
    )  # fmt: skip
    assert "enable_hr" in told(recipe)


# --- named, and not read


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({}, "carries no recipe"),
        ({"Software": "GIMP", "Comment": "holiday"}, "carries no recipe"),
        ({"workflow": '{"nodes": [', "prompt": '{"3": {'}, "made by ComfyUI but its graph"),
        ({"Software": "NovelAI", "Comment": "{"}, "made by NovelAI but its settings"),
        ({"invokeai_metadata": "[]"}, "made by InvokeAI but"),
        ({"invokeai_graph": "{}"}, "made by InvokeAI but"),
        ({"parameters": '{"sui_image_params": {'}, "look like JSON"),
        ({"parameters": '{"sui_image_params": 3}'}, "made by SwarmUI but"),
        ({"parameters": '{"fps": 3, "codec": "x"}'}, "a program that is not known here; .* fps"),
        ({"Dream": "nothing"}, "made by InvokeAI but"),
        ({"postprocessing": "Postprocess upscale by: 4"}, "made by A1111's Extras tab"),
        ({"Description": "a cat --ar 3:2 Job ID: 1"}, "made by Midjourney"),
        ({"parameters": "{}"}, "carries no recipe"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, texts: dict[str, str], sentence: str) -> None:
    with pytest.raises(PictureUnreadable, match=sentence) as caught:
        read_recipe(png_with(tmp_path / "a.png", texts))
    assert str(caught.value).endswith(".")


def test_a_screenshots_comment_is_no_recipe(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", "JPEG", exif=comment(b"ASCII\0\0\0Screenshot"))
    with pytest.raises(PictureUnreadable, match="carries no recipe"):
        read_recipe(path)


def test_another_text_of_the_file_may_say_more(tmp_path: Path) -> None:
    texts = {"workflow": "{", "parameters": f"a cat\n{LINE}"}
    assert read_recipe(png_with(tmp_path / "a.png", texts)).prompt == "a cat"
