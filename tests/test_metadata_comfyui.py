"""ComfyUI's graphs: one sampler is read by its links, a richer graph is named."""

import json
from pathlib import Path

import pytest

from sdgen.errors import PictureUnreadable
from sdgen.metadata import Recipe, RecipeAdapter, read_recipe
from tests.picture_texts import comment, exif_of, png_with, saved

Nodes = dict[str, dict[str, object]]


def node(kind: str, **inputs: object) -> dict[str, object]:
    return {"class_type": kind, "inputs": inputs}


def plain(**changes: object) -> Nodes:
    """ComfyUI's own first graph. changes: inputs of the sampler."""
    sampler = {
        "seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal",
        "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0],
        "latent_image": ["5", 0],
    }  # fmt: skip
    return {
        "3": node("KSampler", **(sampler | changes)),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd/m.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="text", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0]),
    }


def read(tmp_path: Path, graph: object, **more: object) -> Recipe:
    texts = {"prompt": json.dumps(graph)} | {
        name: json.dumps(value) for name, value in more.items()
    }
    return read_recipe(png_with(tmp_path / "a.png", texts))


def check(recipe: Recipe) -> None:
    """It is the recipe of `plain`."""
    assert (recipe.app, recipe.prompt, recipe.negative_prompt) == ("ComfyUI", "a cat", "text")
    assert (recipe.seed, recipe.steps, recipe.guidance_scale) == (5, 20, 8.0)
    assert (recipe.sampler, recipe.width, recipe.height) == ("euler", 512, 768)
    assert recipe.model == "sd/m"


def test_in_every_place(tmp_path: Path) -> None:
    text = json.dumps(plain())
    exif = exif_of({0x0110: f"prompt:{text}", 0x010F: 'workflow:{"nodes": [], "links": []}'})
    for path in (
        png_with(tmp_path / "a.png", {"prompt": text}),
        png_with(tmp_path / "b.png", {"prompt": text}, kind="iTXt"),
        png_with(tmp_path / "c.png", {"prompt": text}, kind="zTXt"),
        png_with(tmp_path / "d.png", {}, exif=exif),
        saved(tmp_path / "a.webp", "WEBP", exif=exif),
        saved(tmp_path / "a.jpg", "JPEG", exif=exif),
        saved(tmp_path / "b.jpg", "JPEG", exif=comment(b"UNICODE\0" + text.encode("utf-16-be"))),
    ):
        recipe = read_recipe(path)
        check(recipe)
        assert recipe.notes == ()


def test_values_come_through_links(tmp_path: Path) -> None:
    graph = plain(seed=["10", 0], steps=["11", 0], cfg=["12", 0], sampler_name=["13", 0]) | {
        "10": node("Seed (rgthree)", seed=5),
        "11": node("PrimitiveInt", value=20),
        "12": node("Reroute", any=["14", 0]),
        "13": node("Sampler Selector", sampler_name="euler"),
        "14": node("PrimitiveFloat", value=8.0),
        "6": node("CLIPTextEncode", text=["15", 0], clip=["4", 1]),
        "15": node("StringConcatenate", string_a="a", string_b=["16", 0], delimiter=" "),
        "16": node("PrimitiveStringMultiline", value="cat"),
        "5": node("EmptyLatentImage", width=["17", 0], height=768, batch_size=1),
        "17": node("INTConstant", value=512),
    }
    check(read(tmp_path, graph))


def test_a_chain_of_loras(tmp_path: Path) -> None:
    power = {"lora_1": {"on": True, "lora": "two.safetensors", "strength": -3, "strengthTwo": None},
             "lora_2": {"on": False, "lora": "off.safetensors", "strength": 1}}  # fmt: skip
    graph = plain(model=["20", 0]) | {
        "20": node("LoraLoaderModelOnly", lora_name="three.safetensors", strength_model=0.2,
                   model=["21", 0]),
        "21": node("Power Lora Loader (rgthree)", **power, model=["22", 0], clip=["22", 1]),
        "22": node("LoraLoader", lora_name="sub\\one.safetensors", strength_model=0.8,
                   strength_clip=0.5, model=["23", 0], clip=["4", 1]),
        "23": node("FreeU_V2", b1=1.3, model=["4", 0]),
    }  # fmt: skip
    recipe = read(tmp_path, graph)
    check(recipe)
    assert recipe.adapters == (
        RecipeAdapter(name="sub/one", scale=0.8, text_scale=0.5),
        RecipeAdapter(name="two", scale=-3.0),
        RecipeAdapter(name="three", scale=0.2),
    )
    assert recipe.notes == ("Nodes whose part is not read: FreeU_V2.",)


def test_the_custom_sampler_and_its_parts(tmp_path: Path) -> None:
    shared = {
        "4": node("UNETLoader", unet_name="m.safetensors", weight_dtype="default"),
        "5": node("EmptySD3LatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a cat", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="text", clip=["4", 1]),
        "30": node("KSamplerSelect", sampler_name="dpmpp_2m"),
        "31": node("BasicScheduler", scheduler="karras", steps=20, denoise=1, model=["4", 0]),
    }
    custom = {"3": node("SamplerCustom", add_noise=True, noise_seed=5, cfg=8, model=["4", 0],
                        positive=["6", 0], negative=["7", 0], sampler=["30", 0],
                        sigmas=["31", 0], latent_image=["5", 0])}  # fmt: skip
    advanced = {
        "3": node("SamplerCustomAdvanced", noise=["32", 0], guider=["33", 0], sampler=["30", 0],
                  sigmas=["31", 0], latent_image=["5", 0]),
        "32": node("RandomNoise", noise_seed=5),
        "33": node("CFGGuider", cfg=8, model=["4", 0], positive=["6", 0], negative=["7", 0]),
    }  # fmt: skip
    for graph in (custom, advanced):
        recipe = read(tmp_path, shared | graph)
        assert (recipe.prompt, recipe.negative_prompt, recipe.seed) == ("a cat", "text", 5)
        assert (recipe.steps, recipe.guidance_scale, recipe.width) == (20, 8.0, 512)
        assert (recipe.sampler, recipe.model, recipe.notes) == ("dpmpp_2m_karras", "m", ())
    basic = shared | advanced | {
        "33": node("BasicGuider", model=["4", 0], conditioning=["34", 0]),
        "34": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
        "31": node("KarrasScheduler", steps=20, sigma_max=14, sigma_min=0.02, rho=7),
    }  # fmt: skip
    recipe = read(tmp_path, basic)
    assert (recipe.prompt, recipe.negative_prompt, recipe.guidance_scale) == ("a cat", "", None)
    assert recipe.sampler == "dpmpp_2m_karras"
    assert "FluxGuidance" in recipe.notes[-1]


def test_conditioning_that_passes_other_nodes(tmp_path: Path) -> None:
    graph = plain(positive=["40", 0], negative=["40", 1]) | {
        "40": node("ControlNetApplyAdvanced", positive=["41", 0], negative=["7", 0],
                   control_net=["x", 0], image=["y", 0], strength=1.0),
        "41": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["42", 0]),
        "42": node("ConditioningSetArea", conditioning=["43", 0], width=64),
        "43": node("CLIPTextEncodeSDXL", text_g="on a log", text_l="on a log", clip=["44", 0]),
        "44": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["4", 1]),
        "6": node("CLIPTextEncode", text="a cat", clip=["44", 0]),
    }  # fmt: skip
    recipe = read(tmp_path, graph)
    assert (recipe.prompt, recipe.negative_prompt) == ("a cat, on a log", "text")
    assert recipe.clip_skip == 1
    notes = " ".join(recipe.notes)
    assert "put together of 2 texts" in notes
    for kind in ("ControlNetApplyAdvanced", "ConditioningCombine", "ConditioningSetArea"):
        assert kind in notes
    zero = plain(negative=["45", 0]) | {"45": node("ConditioningZeroOut", conditioning=["6", 0])}
    assert read(tmp_path, zero).negative_prompt == ""


def test_a_graph_that_began_with_a_picture_says_so(tmp_path: Path) -> None:
    graph = plain(latent_image=["50", 0], denoise=0.6) | {
        "50": node("VAEEncode", pixels=["51", 0], vae=["4", 2]),
        "51": node("LoadImage", image="mine.png"),
    }
    recipe = read(tmp_path, graph)
    assert (recipe.width, recipe.height) == (None, None)
    assert "began with another picture (denoise 0.6)" in " ".join(recipe.notes)
    assert "size" in " ".join(recipe.notes)


def test_words_from_an_unknown_node_are_said_to_be_missing(tmp_path: Path) -> None:
    graph = plain() | {"6": node("CLIPTextEncode", text=["60", 0], clip=["4", 1]),
                       "60": node("MyPromptMaker", style=3)}  # fmt: skip
    recipe = read(tmp_path, graph)
    assert (recipe.prompt, recipe.seed) == ("", 5)
    assert "words of its prompt were not found" in " ".join(recipe.notes)
    assert "MyPromptMaker" in " ".join(recipe.notes)


def test_an_efficient_loader_holds_both_prompts(tmp_path: Path) -> None:
    graph = {
        "1": node("Efficient Loader", ckpt_name="m.safetensors", positive="a cat",
                  negative="text", lora_name="None", empty_latent_width=512,
                  empty_latent_height=768, clip_skip=-2),
        "2": node("KSampler (Efficient)", seed=5, steps=20, cfg=8, sampler_name="euler",
                  scheduler="normal", denoise=1, model=["1", 0], positive=["1", 1],
                  negative=["1", 2], latent_image=["1", 3]),
    }  # fmt: skip
    recipe = read(tmp_path, graph)
    assert (recipe.prompt, recipe.negative_prompt) == ("a cat", "text")
    assert (recipe.width, recipe.height, recipe.model) == (512, 768, "m")
    assert (recipe.clip_skip, recipe.adapters) == (1, ())


def test_richer_graphs_are_named(tmp_path: Path) -> None:
    sides: dict[str, object] = {"positive": ["6", 0], "negative": ["7", 0]}
    second = plain() | {
        "70": node("KSampler", seed=6, steps=9, cfg=5, latent_image=["3", 0], **sides),
        "71": node("FaceDetailer", seed=1, steps=5, cfg=5, image=["8", 0], **sides),
    }
    with pytest.raises(PictureUnreadable, match="ComfyUI with a graph that has 3 sa") as found:
        read(tmp_path, second)
    assert "(KSampler, FaceDetailer)" in str(found.value)
    with pytest.raises(PictureUnreadable, match="3 samplers"):
        read(tmp_path, second, workflow=WORKFLOW)
    with pytest.raises(PictureUnreadable, match=r"no sampler that is known here .*: LoadImage, X"):
        read(tmp_path, {"1": node("LoadImage", image="x"), "2": node("X", a=["1", 0])})
    huge = {str(number): node("X") for number in range(3_001)}
    with pytest.raises(PictureUnreadable, match="has no nodes, or more than 3,000"):
        read(tmp_path, huge)


def test_graphs_that_turn_in_circles_end(tmp_path: Path) -> None:
    circle = plain(model=["80", 0], latent_image=["81", 0], positive=["82", 0], seed=["83", 0]) | {
        "80": node("ModelX", model=["80", 0]),
        "81": node("LatentX", samples=["81", 0]),
        "82": node("ConditioningX", conditioning=["82", 0], conditioning_2=["82", 0]),
        "83": node("SeedX", seed=["83", 0]),
        "84": node("Reroute", a=["84", 0]),
    }
    recipe = read(tmp_path, circle)
    assert (recipe.prompt, recipe.seed, recipe.steps) == ("", None, 20)
    tree = plain(positive=["t0", 0]) | {
        f"t{level}": node("ConditioningCombine", conditioning_1=[f"t{level + 1}", 0],
                          conditioning_2=[f"t{level + 1}", 0]) for level in range(60)
    } | {"t60": node("CLIPTextEncode", text="a cat", clip=["4", 1])}  # fmt: skip
    assert read(tmp_path, tree).prompt == "a cat", "of two to the sixtieth ways"
    words = plain() | {"6": node("CLIPTextEncode", text=["w0", 0], clip=["4", 1])} | {
        f"w{level}": node("Join", text_a=[f"w{level + 1}", 0], text_b=[f"w{level + 1}", 0])
        for level in range(60)
    }  # fmt: skip
    assert read(tmp_path, words).seed == 5


def test_nan_and_endless_numbers_are_none(tmp_path: Path) -> None:
    text = json.dumps(plain()).replace('"SaveImage"', '"SaveImage", "is_changed": [NaN]')
    text = text.replace('"cfg": 8', f'"cfg": {"9" * 5000}')
    recipe = read_recipe(png_with(tmp_path / "a.png", {"prompt": text}))
    assert (recipe.seed, recipe.guidance_scale) == (5, None)


def test_civitais_own_service_states_the_values(tmp_path: Path) -> None:
    stated = {"prompt": "a cat", "negativePrompt": "text", "steps": 20, "cfgScale": 8,
              "sampler": "Euler", "seed": 5, "width": 512, "height": 768}  # fmt: skip
    graph: dict[str, object] = {**plain(), "extra": {"airs": []}}
    graph["extraMetadata"] = json.dumps(stated)
    graph["resource-stack"] = node("CheckpointLoaderSimple", ckpt_name="urn:air:x")
    text = json.dumps(graph)
    path = saved(tmp_path / "a.jpg", "JPEG", exif=comment(b"UNICODE\0" + text.encode("utf-16-be")))
    recipe = read_recipe(path)
    assert (recipe.app, recipe.prompt, recipe.sampler) == ("CivitAI", "a cat", "euler")


# --- the editor's graph alone


def drawn(kind: str, number: int, stored: object, inputs: object = (), mode: int = 0) -> object:
    """A node of the editor. inputs: (name, type, link)."""
    sockets = [{"name": name, "type": of, "link": link} for name, of, link in inputs]  # type: ignore[attr-defined]
    return {"id": number, "type": kind, "mode": mode, "inputs": sockets, "widgets_values": stored,
            "outputs": [{"name": "out", "type": "MODEL"}]}  # fmt: skip


WORKFLOW = {
    "nodes": [
        drawn("KSampler", 3, [5, "randomize", 20, 8, "euler", "normal", 1],
              [("model", "MODEL", 1), ("positive", "CONDITIONING", 2),
               ("negative", "CONDITIONING", 3), ("latent_image", "LATENT", 4)]),
        drawn("LoraLoaderModelOnly", 10, ["one.safetensors", 0.5], [("model", "MODEL", 5)], mode=4),
        drawn("CheckpointLoaderSimple", 4, ["sd/m.safetensors"]),
        drawn("CLIPTextEncode", 6, ["a cat"], [("clip", "CLIP", 6)]),
        drawn("CLIPTextEncode", 7, ["text"], [("clip", "CLIP", 6)]),
        drawn("EmptyLatentImage", 5, [512, 768, 1]),
        drawn("KSampler", 11, [9, "fixed", 9, 9, "euler", "normal", 1],
              [("positive", "CONDITIONING", 2)], mode=2),
    ],
    "links": [[1, 10, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"],
              [3, 7, 0, 3, 2, "CONDITIONING"], [4, 5, 0, 3, 3, "LATENT"],
              [5, 4, 0, 10, 0, "MODEL"], {"id": 6, "origin_id": 4, "origin_slot": 1}],
}  # fmt: skip


def test_a_workflow_alone_is_read(tmp_path: Path) -> None:
    text = json.dumps(WORKFLOW)
    for path in (
        png_with(tmp_path / "a.png", {"workflow": text}),
        saved(tmp_path / "a.webp", "WEBP", exif=exif_of({0x010F: f"Workflow: {text}"})),
    ):
        recipe = read_recipe(path)
        check(recipe)
        assert recipe.adapters == (), "it was passed by"


def test_the_graph_that_ran_counts_before_the_one_that_is_drawn(tmp_path: Path) -> None:
    assert read(tmp_path, plain(steps=7), workflow=WORKFLOW).steps == 7
