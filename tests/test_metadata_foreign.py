"""Recipes in files that are not ours: from other programs, damaged, or made to do harm."""

import contextlib
import io
import json
import os
import random
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdgen.errors import PictureUnreadable
from sdgen.metadata import (
    Recipe,
    RecipeAdapter,
    encode_png,
    form_fields,
    read_recipe,
    recipe_for,
    recipe_from_parameters,
)
from sdgen.request import SAMPLERS
from tests.conftest import ask
from tests.drawn_pictures import drawn


def write(path: Path, texts: dict[str, str], size: tuple[int, int] = (8, 8)) -> Path:
    """A PNG with these texts and nothing else of ours."""
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    Image.new("RGB", size).save(path, "PNG", pnginfo=info)
    return path


def read_text(tmp_path: Path, text: str) -> Recipe:
    return read_recipe(write(tmp_path / "picture.png", {"parameters": text}))


# --- other people's files

OLD = """girl with an artist's beret, determined, ((eyeshadow)), (coquettish), detailed, intricate
Negative prompt: ugly, fat, (((deformed))), [blurry], (poorly drawn hands)
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b"""

NEW = """masterpiece, a castle, <lora:castles:0.8>
second line: with a colon, and 1:2

Negative prompt: easynegative
two lines of it
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3141592653, \
Size: 512x768, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, VAE: vae-ft-mse, Clip skip: 2, \
Lora hashes: "castles: 1a2b, towers: 3c4d", Hires upscale: 2, Version: v1.10.1"""


def test_an_old_a1111_picture(tmp_path: Path) -> None:
    recipe = read_text(tmp_path, OLD)
    assert recipe.prompt.startswith("girl with an artist's beret")
    assert recipe.negative_prompt.endswith("(poorly drawn hands)")
    assert (recipe.steps, recipe.sampler, recipe.guidance_scale) == (20, "euler_a", 7.0)
    assert (recipe.seed, recipe.width, recipe.height) == (965400086, 512, 512)
    assert (recipe.model_hash, recipe.model, recipe.clip_skip) == ("45dee52b", "", 0)
    assert not recipe.ours


def test_a_new_a1111_picture(tmp_path: Path) -> None:
    recipe = read_text(tmp_path, NEW)
    assert recipe.prompt.startswith("masterpiece, a castle")
    assert "lora" not in recipe.prompt
    assert "second line: with a colon, and 1:2" in recipe.prompt
    assert recipe.adapters == (RecipeAdapter(name="castles", sha256="1a2b", scale=0.8),)
    assert recipe.negative_prompt == "easynegative\ntwo lines of it"
    assert (recipe.sampler, recipe.clip_skip) == ("dpmpp_2m_karras", 1)
    assert (recipe.width, recipe.height, recipe.seed) == (512, 768, 3141592653)
    assert recipe.app == "A1111 v1.10.1"
    form = form_fields(recipe, {"picturebook"})
    notes = " ".join(form.notes)
    assert "v1-5-pruned-emaonly" in notes
    assert "another picture here" in notes
    assert "Hires upscale" in notes
    assert "“castles” (strength 0.8" in notes
    assert "model" not in form.fields


@pytest.mark.parametrize(
    ("sampler", "schedule", "ours"),
    [
        ("DPM++ 2M Karras", None, "dpmpp_2m_karras"),
        ("DPM++ 2M", None, "dpmpp_2m"),
        ("DPM++ 2M", "Automatic", "dpmpp_2m_karras"),
        ("DPM++ 2M", "Karras", "dpmpp_2m_karras"),
        ("Euler", "Automatic", "euler"),
        ("Euler a", "Uniform", "euler_a"),
        ("UniPC", None, "unipc"),
        ("Euler", "Karras", "Euler Karras"),
        ("DPM++ SDE Karras", None, "DPM++ SDE Karras"),
        ("Restart", "Exponential", "Restart Exponential"),
    ],
)
def test_samplers_of_a1111(sampler: str, schedule: str | None, ours: str) -> None:
    middle = f", Schedule type: {schedule}" if schedule else ""
    recipe = recipe_from_parameters(f"x\nSteps: 9, Sampler: {sampler}{middle}, Seed: 1, CFG: 2")
    assert recipe.sampler == ours
    form = form_fields(recipe, set())
    if ours in SAMPLERS:
        assert form.fields["sampler"] == ours
    else:
        assert any(ours in note for note in form.notes)
        assert "sampler" not in form.fields


def test_a_text_without_settings_is_all_prompt(tmp_path: Path) -> None:
    recipe = read_text(tmp_path, "just words: two, of them")
    assert recipe.prompt == "just words: two, of them"
    assert (recipe.seed, recipe.steps, recipe.sampler) == (None, None, None)
    assert form_fields(recipe, set()).fields == {
        "prompt": recipe.prompt,
        "negative_prompt": "",
        "clip_skip": 0,
        "adapters": (),
    }


def test_what_does_not_fit_is_left_out_and_said() -> None:
    text = (
        "x\nSteps: 5000, Sampler: Euler, CFG scale: 99, Seed: 99999999999999999999, "
        "Size: 9000x513, Model: m"
    )
    form = form_fields(recipe_from_parameters(text), set())
    assert form.fields.keys() == {"prompt", "negative_prompt", "clip_skip", "sampler", "adapters"}
    notes = " ".join(form.notes)
    for word in ("Steps", "Guidance scale", "Seed", "Width"):
        assert word in notes


@given(text=st.text(max_size=400))
def test_no_text_breaks_the_reader(text: str) -> None:
    recipe = recipe_from_parameters(text)
    form_fields(recipe, set())
    recipe_from_parameters(f"x\nSteps: {text}, Seed: {text}, Size: {text}, CFG scale: {text}")


@pytest.mark.parametrize("part", ["a", "aa: ", 'aa: "', 'aa: "\\', "aa ", "1:", "\n", ",", "<"])
def test_hostile_texts_are_read_in_no_time(part: str) -> None:
    began = time.process_time()
    recipe_from_parameters(part * (200_000 // len(part)))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP"])
@pytest.mark.parametrize("coded", [b"UNICODE\0", b"ASCII\0\0\0"])
def test_exif_comments_as_a1111_writes_them(tmp_path: Path, format_name: str, coded: bytes) -> None:
    text = OLD.replace("girl", "தமிழ் girl") if coded.startswith(b"UNI") else OLD
    encoding = "utf-16-be" if coded.startswith(b"UNI") else "ascii"
    path = tmp_path / "picture"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = coded + text.encode(encoding)
    Image.new("RGB", (8, 8)).save(path, format_name, exif=exif)
    recipe = read_recipe(path)
    assert recipe.prompt == text.split("\n")[0]
    assert recipe.seed == 965400086


# --- hostile files


def unreadable(path: Path) -> str:
    with pytest.raises(PictureUnreadable) as caught:
        read_recipe(path)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert str(path.parent) not in sentence
    return sentence


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def test_things_that_are_no_picture(tmp_path: Path) -> None:
    assert "no such file" in unreadable(tmp_path / "absent.png")
    assert unreadable(tmp_path)
    for content in (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"<svg/>", os.urandom(1000)):
        path = tmp_path / "thing.png"
        path.write_bytes(content)
        unreadable(path)


def test_a_picture_without_a_recipe(tmp_path: Path) -> None:
    assert "no recipe" in unreadable(write(tmp_path / "plain.png", {}))
    assert "no recipe" in unreadable(write(tmp_path / "blank.png", {"parameters": " "}))
    assert "damaged" in unreadable(write(tmp_path / "broken.png", {"sdgen": "{"}))
    assert "damaged" in unreadable(write(tmp_path / "deep.png", {"sdgen": "[" * 100_000}))
    wrong = {"sdgen": json.dumps({"app": "sdgen 9", "prompt": 3})}
    assert "damaged" in unreadable(write(tmp_path / "wrong.png", wrong))


def test_a_later_version_may_add_fields(tmp_path: Path) -> None:
    texts = {"sdgen": json.dumps({"app": "sdgen 9", "prompt": "x", "new": [1]})}
    assert read_recipe(write(tmp_path / "later.png", texts)).prompt == "x"


@pytest.mark.parametrize("side", [5_000, 12_000, 60_000])
def test_image_bombs_are_refused_from_the_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    rows = zlib.compress(bytes((side // 8 + 1) * min(side, 12_000)), 9)
    text = chunk(b"tEXt", b"parameters\0x")
    path.write_bytes(png_of(side, side, text, chunk(b"IDAT", rows)))
    began = time.process_time()
    assert "pixels" in unreadable(path)
    assert time.process_time() - began < 0.5


def test_text_bombs_are_refused(tmp_path: Path) -> None:
    pixels = chunk(b"IDAT", zlib.compress(bytes(2)))
    bomb = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(50_000_000), 9))
    many = b"".join(chunk(b"tEXt", b"parameters\0" + b"x" * 250_000) for _ in range(4))
    for content in (bomb, many):
        path = tmp_path / "bomb.png"
        path.write_bytes(png_of(1, 1, content, pixels))
        unreadable(path)


def test_a_huge_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    assert "larger than 64 MiB" in unreadable(path)


@pytest.mark.filterwarnings("ignore")  # Pillow's own words on damaged EXIF
def test_damaged_files_are_unreadable_or_right(tmp_path: Path) -> None:
    request = ask("ein roter Roboter 🤖")
    recipe = recipe_for(request, drawn(request))
    whole = encode_png(drawn(request).image, recipe)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + OLD.encode("utf-16-be")
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 64)).save(jpeg, "JPEG", exif=exif)
    path = tmp_path / "damaged"
    # Only zlib's sum, the chunk's sum and the last, empty chunk may be gone: 4 + 4 + 12 bytes.
    for end in range(0, len(whole) - 20, 16):
        path.write_bytes(whole[:end])
        unreadable(path)
    chance = random.Random(7)
    for source in (whole, jpeg.getvalue()):
        for _ in range(300):
            bent = bytearray(source)
            for _ in range(chance.randint(1, 4)):
                bent[chance.randrange(len(bent))] ^= 1 << chance.randrange(8)
            path.write_bytes(bent)
            with contextlib.suppress(PictureUnreadable):
                read_recipe(path)
