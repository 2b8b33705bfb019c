"""Where texts lie in picture files, in which encodings, and that looking for them is bounded."""

import contextlib
import gzip
import json
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sdgen.errors import PictureUnreadable
from sdgen.metadata import form_fields, read_picture, read_recipe
from sdgen.metadata.encoding import decoded_comment
from sdgen.metadata.picture_file import FILE_BYTES_MAX
from sdgen.metadata.readers import recipe_of_texts
from sdgen.metadata.stealth import STEALTH_PIXELS_MAX
from sdgen.metadata.texts import TEXT_BYTES_MAX
from tests.picture_texts import (
    EXIF_IFD,
    USER_COMMENT,
    comment,
    exif_of,
    hidden_in,
    png_bytes,
    png_with,
    saved,
)

LINE = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x768"
TEXT = f"a café in the rain 🦊\nNegative prompt: 文字\n{LINE}"
CASES = Path(__file__).parent / "cases" / "recipes"


def check(path: Path, text: str = TEXT) -> None:
    recipe = read_recipe(path)
    assert (recipe.prompt, recipe.seed) == (text.split("\n")[0], 1)
    assert recipe.negative_prompt == text.split("\n")[1].removeprefix("Negative prompt: ")


# --- encodings

MARKS = (b"UNICODE\0", b"ASCII\0\0\0", b"\0" * 8, b"JIS\0\0\0\0\0", b"Unicode\0", b"")


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be", "utf-16-le", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"狐狸在雪地里 🦊\nNegative prompt: 文字\n{LINE}",
        f"ഒരു പൂച്ച\nNegative prompt: x\n{LINE}",
        f"a cat\nNegative prompt: dog\n{LINE}",
    ],
)
def test_a_comment_is_read_in_any_encoding_behind_any_mark(
    mark: bytes, encoding: str, text: str
) -> None:
    assert decoded_comment(mark + text.encode(encoding)) == text


@pytest.mark.parametrize(
    "text", ["狐狸在雪地里", "a fox", "fox", "лиса в снегу", "눈 속의 여우", "狐狸，雪。"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-be", "utf-16-le"])
def test_words_alone_tell_the_byte_order(text: str, encoding: str) -> None:
    assert decoded_comment(b"UNICODE\0" + text.encode(encoding)) == text


def test_known_words_outweigh_letters_that_are_seldom_written() -> None:
    text = "ა" * 600 + f"\n{LINE}"  # in the other byte order these are Korean
    assert decoded_comment(b"UNICODE\0" + text.encode("utf-16-le")) == text


def test_japanese_and_western_bytes() -> None:
    text = f"雪の中の狐\nNegative prompt: 文字\n{LINE}"
    for encoding in ("iso2022_jp", "shift_jis", "euc_jp"):
        assert decoded_comment(b"JIS\0\0\0\0\0" + text.encode(encoding)) == text
    western = f"a café\nNegative prompt: x\n{LINE}"
    assert decoded_comment(b"ASCII\0\0\0" + western.encode("cp1252")) == western


@given(st.binary(max_size=300))
def test_any_bytes_become_some_text(raw: bytes) -> None:
    decoded_comment(raw)


# --- places


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_chunks_of_every_kind(tmp_path: Path, kind: str) -> None:
    check(png_with(tmp_path / "a.png", {"parameters": TEXT}, kind=kind))


def test_a_chunk_behind_the_pixels(tmp_path: Path) -> None:
    whole = png_bytes({})
    data = b"tEXtparameters\0" + TEXT.encode()
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    path = tmp_path / "a.png"
    path.write_bytes(whole[:-12] + chunk + whole[-12:])
    check(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_exif_in_every_tag_and_directory(tmp_path: Path, kind: str) -> None:
    raw = b"UNICODE\0" + TEXT.encode("utf-16-be")
    blocks = {
        "inner comment": comment(raw),
        "outer comment": exif_of({USER_COMMENT: raw}),
        "description": exif_of({0x010E: TEXT.encode()}),
        "XP comment": exif_of({0x9C9C: TEXT.encode("utf-16-le") + b"\0\0"}),
        "beside a camera": exif_of({0x010E: "holiday", 0x010F: "Canon"}, {USER_COMMENT: raw}),
        "two comments": exif_of({USER_COMMENT: b"ASCII\0\0\0Screenshot"}, {USER_COMMENT: raw}),
    }  # fmt: skip
    for name, exif in blocks.items():
        path = tmp_path / name
        Image.new("RGB", (16, 16)).save(path, kind, exif=exif.tobytes())
        check(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_in_either_byte_order(tmp_path: Path, order: str) -> None:
    raw = b"UNICODE\0" + TEXT.encode("utf-16-le")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tiff = mark + struct.pack(f"{order}IHHHII", 8, 1, EXIF_IFD, 4, 1, 26) + bytes(4)
    tiff += struct.pack(f"{order}HHHIII", 1, USER_COMMENT, 7, len(raw), 44, 0) + raw
    check(saved(tmp_path / "a.jpg", "JPEG", exif=b"Exif\0\0" + tiff))


def test_a_jpegs_own_comment(tmp_path: Path) -> None:
    check(saved(tmp_path / "a.jpg", "JPEG", comment=TEXT.encode()))


@pytest.mark.parametrize("bands", ["A", "RGB"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_texts_hidden_in_pixels(tmp_path: Path, bands: str, packed: bool, kind: str) -> None:
    path = hidden_in(tmp_path / "a.png", TEXT, bands, packed, kind)
    check(path)
    assert read_picture(path)[1].seed == 1


def test_a_picture_too_large_to_look_into_is_not_said_to_hold_nothing(tmp_path: Path) -> None:
    side = int(STEALTH_PIXELS_MAX**0.5) + 1
    path = tmp_path / "a.png"
    Image.new("L", (side, side)).save(path, compress_level=1)
    with pytest.raises(PictureUnreadable, match="too large to look for one in its pixels"):
        read_recipe(path)


def test_pixels_are_not_decoded_where_a_text_tells(tmp_path: Path) -> None:
    whole = png_bytes({"parameters": TEXT})
    at = whole.index(b"IDAT") + 4
    path = tmp_path / "a.png"
    path.write_bytes(whole[:at] + b"\xff\xff" + whole[at + 2 :])
    check(path)
    with pytest.raises(PictureUnreadable, match="damaged"):
        read_picture(path)


def test_a_text_whose_sum_is_wrong_is_not_believed(tmp_path: Path) -> None:
    whole = png_bytes({"parameters": TEXT})
    at = whole.index(b"Seed: 1") + 6
    path = tmp_path / "a.png"
    path.write_bytes(whole[:at] + b"2" + whole[at + 1 :])
    with pytest.raises(PictureUnreadable, match="damaged"):
        read_recipe(path)


# --- bombs


def bounded(path: Path, at_most: int = 50 * 2**20) -> str:
    """What reading a file says; it takes no more than 50 MB."""
    tracemalloc.start()
    said = ""
    try:
        read_recipe(path)
    except PictureUnreadable as error:
        said = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < at_most, f"{peak / 2**20:.0f} MB"
    return said


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    whole = png_bytes({})
    return whole[:33] + b"".join(chunks) + whole[33:]


def test_compressed_texts_do_not_grow_without_end(tmp_path: Path) -> None:
    zeros = zlib.compress(b"0" * 60_000_000, 9)
    path = tmp_path / "a.png"
    for bomb in (
        chunk(b"zTXt", b"parameters\0\0" + zeros),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zeros),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros),
        b"".join(
            chunk(b"zTXt", b"note%d\0\0" % number + zlib.compress(bytes(TEXT_BYTES_MAX - 1), 9))
            for number in range(8)
        ),
    ):
        path.write_bytes(png(bomb))
        assert "far more text" in bounded(path)


def test_a_hidden_text_does_not_grow_without_end(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    data = gzip.compress(b"0" * 60_000_000, 9)
    image = Image.new("RGBA", (1200, 1200), (0, 0, 0, 254))
    stream = b"stealth_pngcomp" + struct.pack(">I", 8 * len(data)) + data
    bits = [byte >> (7 - place) & 1 for byte in stream for place in range(8)]
    alpha = bytes(254 + bit for bit in bits) + bytes([254]) * (1200 * 1200 - len(bits))
    plane = Image.frombytes("L", (1200, 1200), alpha).transpose(Image.Transpose.TRANSPOSE)
    image.putalpha(plane)
    image.save(path)
    assert "far more text" in bounded(path)
    path = hidden_in(tmp_path / "b.png", "x", packed=False)
    with Image.open(path) as opened:
        bent = opened.copy()
    for first in (135, 120):  # lengths of 16 kB, and of half a gigabyte; there is room for less
        for place in range(first, 152):
            x, y = divmod(place, bent.height)
            pixel = bent.getpixel((x, y))
            assert isinstance(pixel, tuple)
            bent.putpixel((x, y), (*pixel[:3], 255))
        bent.save(path)
        assert "hidden in this picture's pixels is damaged" in bounded(path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, '{"a":' * 100_000, '{"prompt": ' + "9" * 100_000 + "}",
        json.dumps({"prompt": "\ud800", "seed": 1e999, "steps": -1, "cfg": "nan"}),
        json.dumps({str(number): {"class_type": "X", "inputs": {}} for number in range(20_000)}),
        json.dumps({"nodes": [{"id": n, "type": "X"} for n in range(9_000)], "links": []}),
        json.dumps({"sui_image_params": {"loras": [{}] * 9_000, "prompt": ["x"], "seed": True}}),
        json.dumps({"positive_prompt": {}, "scheduler": 3, "loras": [[]] * 900, "model": [1]}),
        json.dumps({"metadata_scheme": "fooocus", "loras": [[[], []]] * 900, "resolution": "(1,"}),
        json.dumps({"c": "x", "uc": 3, "sampler": [], "steps": {}, "lora": [3, {"model": {}}]}),
        json.dumps({"image": {"prompt": [[3]]}, "app_id": 3}),
        "Steps: 1, Seed: 2, Size: 3x3, " + "a: [" * 20_000,
        "Steps: 1, Seed: 2, Size: 3x3, " + 'a: "\\' * 20_000,
        "Steps: 1 " * 20_000, "x\n" * 60_000 + LINE, "Seed: 1, " * 20_000, ", : | . " * 20_000,
        "<lora:" * 30_000, "<lora:x:1>" * 15_000, '"' * 100_000, "Dream " * 20_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["parameters", "prompt", "Dream"])
def test_hostile_texts_are_answered_in_bounds(tmp_path: Path, name: str, text: str) -> None:
    path = png_with(tmp_path / "a.png", {name: text.encode("utf-8", "replace").decode()})
    bounded(path)
    with contextlib.suppress(PictureUnreadable):
        form_fields(read_recipe(path), set())


# --- mutated files and values


def seeds(tmp: Path) -> list[bytes]:
    """A file of every kind and program."""
    exif = exif_of({0x010E: TEXT, 0x0110: 'prompt:{"3": {}}'}, {USER_COMMENT: b"UNICODE\0a\0b"})
    made = [
        saved(tmp / "a.webp", "WEBP", exif=exif, xmp=b"<a>Steps: 1, Seed: 2, Size: 3x3</a>"),
        saved(tmp / "b.jpg", "JPEG", exif=exif, comment=TEXT.encode()),
        png_with(tmp / "c.png", {"parameters": TEXT}, kind="zTXt", exif=exif),
        png_with(tmp / "d.png", {"prompt": "{}"}, kind="iTXt"),
        hidden_in(tmp / "e.png", TEXT),
        hidden_in(tmp / "f.webp", TEXT, "RGB", kind="WEBP"),
    ]
    return [path.read_bytes() for path in [*made, *sorted(CASES.iterdir())]]


def bent(source: bytes, chance: random.Random) -> bytes:
    """A file with some bytes changed, cut, doubled, or with the sums of its chunks made right."""
    data = bytearray(source)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at : at + chance.randint(1, 40)] = b""
            case 2:
                data[at:at] = data[at : at + chance.randint(1, 40)]
            case _:
                data[at : at + 4] = struct.pack(">I", chance.choice([0, 1, 2**31, 2**32 - 1]))
        if not data:
            break
    return summed(bytes(data)) if chance.random() < 0.7 else bytes(data)


def summed(data: bytes) -> bytes:
    """A PNG whose chunks have the right sums, so that what is in them is looked at."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        if len(body) < size + 4:
            break
        parts.append(data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body)))
        at += 12 + size
    return b"".join([*parts, data[at:]])


@pytest.mark.filterwarnings("ignore")  # Pillow's own words on damaged pixels
def test_mutated_files_are_read_or_refused_in_words(tmp_path: Path) -> None:
    chance = random.Random(11)
    sources = seeds(tmp_path)
    path = tmp_path / "bent"
    for _ in range(600):
        path.write_bytes(bent(chance.choice(sources), chance))
        said = "."
        try:
            form_fields(read_recipe(path), {"picturebook"})
        except PictureUnreadable as error:
            said = str(error)
        assert said.endswith(".")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(
            ["prompt", "seed", "steps", "sampler", "scheduler", "inputs", "class_type", "nodes",
             "id", "links", "type", "widgets_values", "model", "loras", "uc", "scale", "Comment",
             "image", "sui_image_params", "positive", "negative", "latent_image", "cfg", "name",
             "weight", "1"]
        ), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip
NAMES = ["parameters", "prompt", "workflow", "Comment", "invokeai_metadata", "sd-metadata", "Dream"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([*NAMES, "Software"]), JSON | st.text(max_size=80)))
def test_any_values_are_read_or_refused_in_words(texts: dict[str, object]) -> None:
    told = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in texts.items()
    }
    with contextlib.suppress(PictureUnreadable):
        recipe = recipe_of_texts(told, 8, 8)
        if recipe is not None:
            form_fields(recipe, set())


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_values_in_a_real_frame_are_read_or_refused(data: st.DataObject) -> None:
    """A real text of each program with one of its values put aside for any other."""
    name, text = data.draw(st.sampled_from(FRAMES))
    whole = json.loads(text)
    at = data.draw(st.sampled_from(sorted(_places(whole), key=str)))
    inner = whole
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = data.draw(JSON)
    with contextlib.suppress(PictureUnreadable):
        recipe = recipe_of_texts({name: json.dumps(whole), "Software": "NovelAI"}, 8, 8)
        if recipe is not None:
            form_fields(recipe, set())


def _frames() -> list[tuple[str, str]]:
    frames = []
    for path in CASES.glob("*.png"):
        with Image.open(path) as image:
            texts = {key: str(value) for key, value in image.info.items()}
        frames += [(key, text) for key, text in texts.items() if text.startswith("{")]
    easy = {"prompt": "x", "seed": 1, "num_inference_steps": 2, "sampler_name": "ddim",
            "use_lora_model": ["a"], "lora_alpha": [1]}  # fmt: skip
    nai = {"sampler": "k_euler", "scale": 3, "uc": "x", "v4_prompt": {"caption": {"x": [1]}}}
    draw = {"c": "x", "uc": "y", "sampler": "DDIM", "steps": 3, "lora": [{"model": "m"}]}
    return frames + [("parameters", json.dumps(each)) for each in (easy, nai, draw)]


def _places(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    found = [at] if at else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        found += _places(inner, (*at, key))
    return found


FRAMES = _frames()


def test_no_file_larger_than_the_limit_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    assert "larger than 64 MiB" in bounded(path)
