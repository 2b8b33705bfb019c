"""Photos in: from anywhere, with captions from anywhere; nothing lost, nothing changed."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lora.dataset import PhotoReport, PhotosRefused, check
from tests.photos import a_folder, a_photo, a_zip, encoded, jpeg, png_header

REPOSITORY = Path(__file__).parent.parent
SIDE = 128  # pixels; the resolution of these tests


def report_of(folder: Path, files: Mapping[str, bytes | str], **options: object) -> PhotoReport:
    """The report on a folder of these files."""
    a_folder(folder / "in", files)
    return check(folder / "in", folder / "work", "my cat", "cat", SIDE, **options)


def kinds(report: PhotoReport, name: str) -> set[str]:
    [photo] = [photo for photo in report.photos if photo.name == name]
    return {finding.kind for finding in photo.findings}


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


def test_looking_at_photos_needs_no_torch() -> None:
    program = "import sys, lora.dataset; assert not {'torch', 'gradio', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)
