"""The report before the first step: what came in, what is used, what is not and why, by name."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lora.dataset import (
    PhotoReport,
    PhotosRefused,
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
from tests.photos import a_folder, a_photo, a_zip, encoded, png_header, sideways

REPOSITORY = Path(__file__).parent.parent
SIDE = 128  # pixels; the resolution of these tests


def jpeg(seed: int, width: int = 320, height: int = 240) -> bytes:
    return encoded(a_photo(seed, width, height), "JPEG", quality=92)


def report_of(folder: Path, files: Mapping[str, bytes | str], **options: object) -> PhotoReport:
    """The report on a folder of these files."""
    a_folder(folder / "in", files)
    return check(folder / "in", folder / "work", "my cat", "cat", SIDE, **options)


def kinds(report: PhotoReport, name: str) -> set[str]:
    [photo] = [photo for photo in report.photos if photo.name == name]
    return {finding.kind for finding in photo.findings}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> PhotoReport:
    """29 photos with everything that photos have, two of which cannot be used."""
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
    return report_of(folder, files, count_tokens=lambda text: tokens.count("picturebook", text))


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


def test_what_came_in_stays_as_it_was(tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(1), "b.png": png_header(9000, 9000), "c.txt": "words"}
    report_of(tmp_path, files)
    for name, data in files.items():
        assert (tmp_path / "in" / name).read_bytes() == (
            data.encode() if isinstance(data, str) else data
        )
    assert len(list((tmp_path / "in").iterdir())) == 3


def test_loose_photos_a_folder_and_a_zip_give_the_same(tmp_path: Path) -> None:
    files = {f"{seed}.png": encoded(a_photo(seed)) for seed in range(3)}
    files |= {"0.txt": b"first", "metadata.jsonl": b'{"file_name": "1.png", "text": "second"}'}
    folder = a_folder(tmp_path / "in", files)
    sources = [folder, a_zip(tmp_path / "a.zip", files), sorted(folder.iterdir())]
    found = []
    for number, source in enumerate(sources):
        report = check(source, tmp_path / f"{number}", "my cat", "cat", SIDE)
        found.append([(one.id, one.name, one.caption) for one in report.dataset.examples])
    assert [caption for _, _, caption in found[0]] == [
        "my cat, first",
        "my cat, second",
        "my cat",
    ]
    assert found[0] == found[1] == found[2]


def test_typed_captions_come_first(tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(1), "a.txt": "from a file", "b.jpg": jpeg(2), "b.txt": "from a file"}
    typed = {"a.jpg": "typed by hand", "b": "MY CAT too"}
    report = report_of(tmp_path, files, captions=typed)
    assert [one.caption for one in report.dataset.examples] == [
        "my cat, typed by hand",
        "MY CAT too",
    ]


def test_the_same_picture_twice_is_used_once(tmp_path: Path) -> None:
    image = a_photo(1)
    files = {"a.png": encoded(image), "b.bmp": encoded(image, "BMP"), "c/a.png": encoded(image)}
    report = report_of(tmp_path, files)
    assert [photo.reason for photo in report.left_out] == ["It is the same picture as 'a.png'."] * 2
    assert [photo.name for photo in report.left_out] == ["b.bmp", "a.png (2)"]


def test_photos_can_be_left_out_by_hand(tmp_path: Path) -> None:
    report = report_of(tmp_path, {"a.jpg": jpeg(1), "b.jpg": jpeg(2)}, leave_out=["a.jpg"])
    assert report.left_out[0].reason == "You left it out."
    assert [one.name for one in report.dataset.examples] == ["b.jpg"]


def test_a_tiny_photo_is_left_out_and_a_small_one_is_warned_of(tmp_path: Path) -> None:
    files = {"tiny.png": encoded(a_photo(1, 30, 30)), "small.png": encoded(a_photo(2, 60, 60))}
    report = report_of(tmp_path, files)
    assert report.left_out[0].reason.startswith("It has only 30x30 pixels; enlarged 4.3 times")
    assert kinds(report, "small.png") >= {"small"}
    assert report.used[0].enlarged == pytest.approx(SIDE / 60)


def test_captions_that_are_all_the_same_are_told(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{seed}.jpg": jpeg(seed) for seed in range(3)}
    report = report_of(tmp_path, files | {f"{seed}.txt": "a cat" for seed in range(3)})
    assert any("All captions are the same" in said for said in report.findings)
    assert any("only 3 photos" in said for said in report.findings)
    files |= {f"{seed}.txt": f"cat {seed}" for seed in range(3)}
    assert not any("same" in said for said in report_of(tmp_path, files).findings)


def test_a_trigger_that_is_an_ordinary_word_is_told(tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(1)}
    said = report_of(tmp_path, files, count_tokens=lambda text: len(text.split())).findings
    assert not any("trigger" in sentence for sentence in said)
    said = report_of(tmp_path, files, count_tokens=lambda text: 1).findings
    assert any("The trigger 'my cat' is a single word" in sentence for sentence in said)


def test_a_large_photo_is_stored_at_twice_the_size_of_training(tmp_path: Path) -> None:
    report = report_of(tmp_path, {"a.png": encoded(a_photo(1, 1600, 1200))})
    [example] = report.dataset.examples
    crop = example.crop
    assert example.bucket[0] * 2 == pytest.approx(crop[2] - crop[0], abs=1)
    assert example.width / example.height == pytest.approx(4 / 3, abs=0.01)
    assert report.used[0].size == (1600, 1200)


def test_squares_where_buckets_are_not_wanted(tmp_path: Path) -> None:
    report = report_of(tmp_path, {"a.jpg": jpeg(1)}, aspect_buckets=False)
    assert report.dataset.examples[0].bucket == (SIDE, SIDE)
    stepped = check(tmp_path / "in", tmp_path / "w2", "my cat", "", SIDE, step=64)
    assert all(side % 64 == 0 for side in stepped.dataset.examples[0].bucket)


def test_names_in_reports_are_short_and_harmless(tmp_path: Path) -> None:
    long = f"{'x' * 200}.jpg"
    zipped = a_zip(tmp_path / "a.zip", {"a\x1b[31m\u202e.jpg": jpeg(1), long: jpeg(2)})
    report = check(zipped, tmp_path / "work", "my cat", "", SIDE)
    assert [photo.name for photo in report.photos] == [
        "a\ufffd[31m\ufffd.jpg",
        "x" * 40 + "…" + long[-16:],
    ]
    assert "\x1b" not in report_text(report)


def test_all_left_out_is_a_report_and_no_dataset(tmp_path: Path) -> None:
    report_of(tmp_path, {"a.jpg": jpeg(1)})
    report = report_of(tmp_path, {"a.jpg": b"no photo"})
    assert not list((tmp_path / "work").iterdir())
    assert report.summary == "1 photo in, 0 used, 1 left out."
    assert report.dataset.examples == ()
    assert "nothing to train on" in report.findings[-1]


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "in", {"a.jpg": jpeg(1)})
    for work in (folder, folder / "work"):
        with pytest.raises(PhotosRefused, match="must not lie in"):
            check(folder, work, "my cat", "", SIDE)
    with pytest.raises(PhotosRefused, match="There is no folder"):
        check(tmp_path / "nothing", tmp_path / "work", "my cat", "", SIDE)
    with pytest.raises(PhotosRefused, match="no photos"):
        check(a_folder(tmp_path / "b", {"a.txt": "x"}), tmp_path / "work", "my cat", "", SIDE)


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    files = {"a.jpg": jpeg(1), "b.jpg": b"", "c.jpg": jpeg(2)}
    report_of(tmp_path, files, on_photo=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


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


def test_looking_at_photos_needs_no_torch() -> None:
    program = "import sys, lora.dataset; assert not {'torch', 'gradio', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
