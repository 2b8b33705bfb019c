"""The report before the first step: 29 in, 27 used, 2 left out, with everything photos have."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lora.dataset import (
    PhotoReport,
    check,
    draw_crop,
    draw_crops,
    load_dataset,
    pixels,
    print_report,
    report_json,
    report_text,
    split,
)
from lora.dataset.likeness import BLURRED, blur
from sdgen.tokens import Tokens
from tests.photos import a_folder, a_photo, a_zip, encoded, jpeg, png_header, sideways

SIDE = 128  # pixels; the resolution of these tests


def kinds(report: PhotoReport, name: str) -> set[str]:
    [photo] = [photo for photo in report.photos if photo.name == name]
    return {finding.kind for finding in photo.findings}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> PhotoReport:
    """29 photos with every flaw there is; two of them cannot be used."""
    files: dict[str, bytes | str] = {f"good{n:02}.jpg": jpeg(n) for n in range(18)}
    files |= {f"good{n:02}.txt": f"my cat, number {n}" for n in range(18)}
    files["cut.jpg"] = jpeg(30)[:4000]
    files["bomb.png"] = png_header(6000, 5000)
    files["sideways.jpg"] = sideways(a_photo(31))
    files["small.png"] = encoded(a_photo(32, 80, 60))
    files["soft.png"] = encoded(a_photo(33).filter(ImageFilter.GaussianBlur(9)))
    files["again.jpg"] = encoded(a_photo(3).resize((300, 225)), "JPEG", quality=60)
    files["wide.png"] = encoded(a_photo(34, 600, 120))
    files["print.jpg"] = encoded(a_photo(35).convert("CMYK"), "JPEG")
    files["moving.gif"] = encoded(
        a_photo(36).quantize(), "GIF", save_all=True, append_images=[a_photo(37).quantize()]
    )
    files["glass.png"] = encoded(
        Image.merge("RGBA", (*a_photo(38).split(), a_photo(39).split()[0]))
    )
    files["long.jpg"], files["long.txt"] = jpeg(40), "on a red sofa by the sea " * 20
    files["readme.md"] = "not a photo"
    folder = tmp_path_factory.mktemp("mixed")
    tokens = Tokens()
    return check(
        a_folder(folder / "in", files),
        folder / "work",
        "my cat",
        "cat",
        SIDE,
        count_tokens=lambda text: tokens.count("picturebook", text),
    )


def test_in_used_and_why_by_name(mixed: PhotoReport) -> None:
    assert mixed.summary == "29 photos in, 27 used, 2 left out."
    assert {photo.name: photo.reason for photo in mixed.left_out} == {
        "cut.jpg": "It is cut off: the end of the file is missing.",
        "bomb.png": "It has 6000x5000 pixels; at most 24 million are read.",
    }
    assert mixed.ignored == (("readme.md", "It is no photo."),)


def test_every_flaw_is_found_where_it_is_and_nowhere_else(mixed: PhotoReport) -> None:
    assert kinds(mixed, "good00.jpg") == set()
    assert kinds(mixed, "sideways.jpg") == {"turned", "no_caption"}
    assert kinds(mixed, "small.png") == {"small", "no_caption"}
    assert kinds(mixed, "soft.png") == {"blurred", "no_caption"}
    assert kinds(mixed, "wide.png") == {"cropped", "no_caption"}
    assert kinds(mixed, "print.jpg") == {"converted", "no_caption"}
    assert kinds(mixed, "moving.gif") == {"animated", "no_caption"}
    assert kinds(mixed, "glass.png") == {"transparent", "no_caption"}
    assert kinds(mixed, "long.jpg") == {"long_caption", "no_trigger"}
    assert mixed.similar == (("again.jpg", "good03.jpg"),)
    assert [photo.name for photo in mixed.with_finding("alike")] == ["good03.jpg"]


def test_the_report_is_told_in_lines_and_as_json(
    mixed: PhotoReport, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(mixed)
    text = capsys.readouterr().out
    assert text.rstrip("\n") == report_text(mixed)
    for words in (
        "29 photos in, 27 used, 2 left out.",
        "  cut.jpg: It is cut off",
        "soft.png (0.",
        "wide.png (52% is cut away)",
        "small.png (80x60, enlarged 1.9 times)",
        "good03.jpg (like 'again.jpg')",
        "readme.md: It is no photo.",
    ):
        assert words in text
    content = json.loads(report_json(mixed))
    assert (content["in"], content["used"], len(content["left_out"])) == (29, 27, 2)
    long = next(photo for photo in content["photos"] if photo["name"] == "long.jpg")
    assert long["caption"].startswith("my cat, on a red sofa")
    assert long["caption"].endswith(long["unread"])
    assert {one["kind"]: one["level"] for one in long["findings"]} == {
        "no_trigger": "note",
        "long_caption": "warning",
    }


def test_the_dataset_is_written_and_every_photo_can_be_trained_on(mixed: PhotoReport) -> None:
    assert load_dataset(mixed.folder) == mixed.dataset
    assert len(mixed.dataset.examples) == 27
    for example in mixed.dataset.examples:
        assert pixels(example).shape[1:] == example.bucket[::-1]
        assert re.search(r"(?i)\bmy cat\b", example.caption)
        data = example.path.read_bytes()
        assert not any(kind in data for kind in (b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt"))
    parted = split(mixed.dataset, None, seed=1)
    assert len(parted.held_out) == 4
    assert not {"again.jpg", "good03.jpg"} & {one.name for one in parted.held_out}


def test_names_in_reports_are_short_and_harmless(tmp_path: Path) -> None:
    long = f"{'x' * 200}.jpg"
    zipped = a_zip(tmp_path / "a.zip", {"a\x1b[31m\u202e.jpg": jpeg(1), long: jpeg(2)})
    report = check(zipped, tmp_path / "work", "my cat", "", SIDE)
    assert [photo.name for photo in report.photos] == [
        "a\ufffd[31m\ufffd.jpg",
        "x" * 40 + "…" + long[-16:],
    ]
    assert "\x1b" not in report_text(report)


def test_crops_are_drawn_dark_outside_the_box(mixed: PhotoReport) -> None:
    [wide] = [photo.example for photo in mixed.used if photo.name == "wide.png"]
    assert wide is not None
    drawn = draw_crop(wide, 256)
    whole = Image.open(wide.path).resize(drawn.size)
    edge, middle = (slice(None), slice(0, 20)), (slice(10, 40), slice(110, 140))
    ratio = np.asarray(drawn, float)[edge].mean() / np.asarray(whole, float)[edge].mean()
    assert ratio == pytest.approx(0.3, abs=0.05)
    assert np.abs(np.asarray(drawn, float) - np.asarray(whole, float))[middle].mean() < 10
    sheet = draw_crops(mixed, columns=6, side=100)
    assert sheet.width == 6 * 108 + 8
    assert sheet.height == 5 * 126 + 8


def test_blur_sees_softness_and_neither_darkness_nor_fog() -> None:
    for seed in range(5):
        image = a_photo(seed, 512, 512)
        pale = image.point([200 + level // 8 for level in range(256)] * 3)
        dark = image.point([level // 6 for level in range(256)] * 3)
        soft = image.filter(ImageFilter.GaussianBlur(4))
        for sharp in (image, pale, dark):
            assert blur(sharp, (512, 512)) < 0.45 < BLURRED
        assert blur(soft, (512, 512)) > BLURRED
        assert blur(soft, (64, 64)) < BLURRED  # not to be seen at that size
    assert blur(Image.new("RGB", (64, 64)), (64, 64)) == 1.0
