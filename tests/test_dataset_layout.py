"""The stored photos: read back as they were written, by us and by the tools of others."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lora.dataset import (
    Dataset,
    DatasetDamaged,
    Example,
    PhotosRefused,
    check,
    cropped,
    fit,
    load_dataset,
    pack,
    pixels,
    write_dataset,
)
from lora.dataset.layout import content_hash, stored_name
from tests.photos import a_photo


def an_example(folder: Path, seed: int, caption: str = "my cat") -> Example:
    image = a_photo(seed, 120, 90)
    content = content_hash(120, 90, image.tobytes())
    path = folder / f"{stored_name(content)}.png"
    folder.mkdir(exist_ok=True)
    image.save(path)
    crop = fit(120, 90, 64)
    return Example(content, f"{seed}.jpg", path, caption, 120, 90, crop.bucket, crop.box, "ab" * 8)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    examples = [an_example(tmp_path / "made", seed, f"my cat, nümber {seed}") for seed in range(5)]
    return Dataset(tuple(examples[:3]), tuple(examples[3:]))


def test_what_is_written_is_read_back(dataset: Dataset, tmp_path: Path) -> None:
    written = write_dataset(dataset, tmp_path / "photos")
    assert load_dataset(tmp_path / "photos") == written
    assert [one.id for one in written.examples] == [one.id for one in dataset.examples]
    assert {one.path.parent for one in written.examples} == {tmp_path / "photos"}
    assert replace(written.held_out[0], path=dataset.held_out[0].path) == dataset.held_out[0]
    assert write_dataset(written, tmp_path / "photos") == written  # where it lies already


def read_as_imagefolder(folder: Path) -> Iterator[tuple[Image.Image, str]]:
    """datasets' imagefolder (packaged_modules/folder_based_builder): JSON lines, one a picture, of
    which `file_name` is a path relative to metadata.jsonl; every other field is a column. All lines
    must have the same fields. diffusers' train_text_to_image_lora.py takes `image` and `text`."""
    rows = [
        json.loads(line) for line in (folder / "metadata.jsonl").read_bytes().splitlines() if line
    ]
    assert len({tuple(row) for row in rows}) == 1
    for row in rows:
        yield Image.open(folder / row["file_name"]).convert("RGB"), row["text"]


def read_as_kohya(folder: Path) -> Iterator[tuple[Image.Image, str]]:
    """sd-scripts, library/train_util.py: glob_images of the folder itself, and read_caption with
    caption_extension ".txt", of which the first line counts; an empty file ends the program."""
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".bmp"):
            lines = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines(keepends=True)
            assert lines
            yield Image.open(path).convert("RGB"), lines[0].strip()


@pytest.mark.parametrize("read", [read_as_imagefolder, read_as_kohya])
def test_other_tools_read_the_photos_to_train_on(dataset: Dataset, tmp_path: Path, read) -> None:
    write_dataset(dataset, tmp_path / "photos")
    found = {
        content_hash(image.width, image.height, image.tobytes()): caption
        for image, caption in read(tmp_path / "photos")
    }
    assert found == {one.id: one.caption for one in dataset.examples}
    kept = dict.fromkeys(one.caption for one in dataset.held_out)
    assert dict.fromkeys(caption for _, caption in read(tmp_path / "photos/held_out")) == kept


def test_a_smaller_dataset_takes_the_place_of_a_larger_one(
    dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    (folder / "held_out").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    written = write_dataset(dataset, folder)
    fewer = write_dataset(Dataset(written.examples[:1] + written.held_out[:1]), folder)
    assert load_dataset(folder) == fewer
    assert fewer.held_out == ()
    assert (folder / "notes.txt").read_text() == "mine"
    assert len(list(folder.glob("*.png"))) == len(fewer.examples) == 2
    assert not list((folder / "held_out").iterdir())
    assert all(pixels(one).isfinite().all() for one in fewer.examples)


def test_captions_can_be_changed(dataset: Dataset, tmp_path: Path) -> None:
    written = write_dataset(dataset, tmp_path / "photos")
    first = written.examples[0]
    edited = written.with_captions({first.id: " two\nlines ", written.held_out[0].id: "held"})
    assert [one.caption for one in edited.examples][:2] == ["two lines", "my cat, nümber 1"]
    assert edited.held_out[0].caption == "held"
    assert edited.examples[1] == written.examples[1]
    assert load_dataset(tmp_path / "photos") == written  # until it is written
    write_dataset(edited, tmp_path / "photos")
    assert load_dataset(tmp_path / "photos") == edited


def test_changed_or_missing_files_are_found(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    one, two, three = write_dataset(dataset, folder).examples
    a_photo(99, 120, 90).save(one.path)
    with pytest.raises(DatasetDamaged, match=r"'0.jpg' was changed"):
        pixels(load_dataset(folder).examples[0])
    one.path.write_bytes(b"no picture")
    with pytest.raises(DatasetDamaged, match=r"'0.jpg' cannot be read"):
        pixels(one)
    two.path.with_suffix(".txt").write_text("another caption")
    with pytest.raises(DatasetDamaged, match=r"caption of '1.jpg' was changed"):
        load_dataset(folder)
    two.path.with_suffix(".txt").unlink()  # a layout without them is whole too
    three.path.unlink()
    with pytest.raises(DatasetDamaged, match=r"'2.jpg' is missing"):
        load_dataset(folder)
    (folder / "metadata.jsonl").unlink()
    with pytest.raises(DatasetDamaged, match="not prepared to the end"):
        load_dataset(folder)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "b.png", ""])
def test_a_list_cannot_name_files_of_others(dataset: Dataset, tmp_path: Path, name: str) -> None:
    write_dataset(dataset, tmp_path / "photos")
    path = tmp_path / "photos" / "metadata.jsonl"
    row = json.loads(path.read_text("utf-8").splitlines()[0])
    path.write_text(json.dumps(row | {"file_name": name}))
    with pytest.raises(DatasetDamaged):
        load_dataset(tmp_path / "photos")
    path.write_text("{}")
    with pytest.raises(DatasetDamaged, match="Line 1"):
        load_dataset(tmp_path / "photos")


def test_nothing_to_train_on_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(PhotosRefused, match="nothing to train on"):
        write_dataset(Dataset((), dataset.held_out), tmp_path / "photos")


def test_a_zip_of_it_comes_in_again(dataset: Dataset, tmp_path: Path) -> None:
    written = write_dataset(dataset, tmp_path / "photos")
    first, second = (pack(written, tmp_path / name).read_bytes() for name in ("a.zip", "b.zip"))
    assert first == second
    report = check(tmp_path / "a.zip", tmp_path / "again", "my cat", "", 64)
    everything = dataset.examples + dataset.held_out
    assert {(one.id, one.name, one.caption) for one in report.dataset.examples} == {
        (one.id, one.name, one.caption) for one in everything
    }


def test_pixels_are_the_cropped_photo_between_minus_one_and_one(dataset: Dataset) -> None:
    example = dataset.examples[0]
    tensor = pixels(example)
    width, height = example.bucket
    assert tensor.shape == (3, height, width)
    assert tensor.dtype == torch.float32
    again = ((tensor + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(again, np.asarray(cropped(example)))
    assert torch.equal(pixels(example, mirror=True), tensor.flip(2))
    assert torch.equal(pixels(example), tensor)
