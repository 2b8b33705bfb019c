"""A zip of a stranger: read within limits, into memory, with no name taken as a path."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora.dataset import PhotosRefused, check
from lora.dataset.files import FILES_MAX, PHOTOS_MAX, SourceFile
from lora.dataset.sources import read_source
from lora.dataset.zips import BYTES_MAX, RATIO_MAX, zip_files
from tests.photos import a_folder, a_photo, a_zip, encoded

PHOTO = encoded(a_photo(1, 64, 64))


def by_name(path: Path) -> dict[str, SourceFile]:
    return {f"{file.folder}/{file.name}".lstrip("/"): file for file in zip_files(path)}


def refusal(path: Path) -> str:
    with pytest.raises(PhotosRefused) as caught:
        read_source(path)
    return str(caught.value)


def test_photos_and_captions_come_out(tmp_path: Path) -> None:
    members = {"set/": b"", "set/a.png": PHOTO, "set/a.txt": b"words", "b.PNG": PHOTO}
    junk = {"__MACOSX/set/._a.png": b"x", "set/.DS_Store": b"x", "Thumbs.db": b"x"}
    found = by_name(a_zip(tmp_path / "a.zip", members | junk))
    assert {name: file.kind for name, file in found.items()} == {
        "set/a.png": "photo",
        "set/a.txt": "caption",
        "b.PNG": "photo",
    }
    assert found["set/a.png"].read() == PHOTO
    assert found["set/a.txt"].read() == b"words"


SLIPS = (
    "../evil.png",
    "a/../../evil.png",
    "/etc/evil.png",
    "..\\evil.png",
    "C:\\evil.png",
    "\\\\server\\evil.png",
)


def test_names_that_point_outside_are_left_out_and_nothing_is_written_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "in").mkdir()
    path = a_zip(tmp_path / "in" / "a.zip", dict.fromkeys(SLIPS, PHOTO) | {"good.png": PHOTO})
    report = check(path, tmp_path / "in" / "work" / "deep", "my cat", "", 64)
    assert report.summary == "7 photos in, 1 used, 6 left out."
    assert {photo.reason for photo in report.left_out} == {"Its name points out of the zip."}
    assert not list(tmp_path.rglob("*evil*"))
    stored = sorted(file.name for file in tmp_path.rglob("*") if file.is_file())
    content = report.dataset.examples[0].id[:24]
    assert stored == sorted(["a.zip", f"{content}.png", f"{content}.txt", "metadata.jsonl"])


def test_links_devices_and_locked_members_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, kind in (("link.png", stat.S_IFLNK), ("pipe.png", stat.S_IFIFO)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, "/etc/passwd")
        archive.writestr("locked.png", PHOTO)
        archive.writestr("a.png", PHOTO)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"locked.png") - 46  # its entry in the list of members
    assert data[entry : entry + 4] == b"PK\x01\x02"
    data[entry + 8] |= 1
    path.write_bytes(data)
    reasons = {name: file.refused for name, file in by_name(path).items()}
    assert reasons == {
        "link.png": "It is a link to another file.",
        "pipe.png": "It is no file.",
        "locked.png": "It is locked with a password.",
        "a.png": "",
    }


def test_zips_inside_are_not_opened(tmp_path: Path) -> None:
    inner = a_zip(tmp_path / "inner.zip", {"a.png": PHOTO}).read_bytes()
    members = {"deep.zip": inner, "looks.png": inner, "a.tar": b"x", "a.png": PHOTO}
    found = by_name(a_zip(tmp_path / "a.zip", members))
    assert found["a.png"].refused == ""
    for name in ("deep.zip", "looks.png", "a.tar"):
        assert found[name].refused == "It is an archive; unpack it first."
        assert found[name].data is None


def test_two_members_of_one_name_are_two_photos(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(a_photo(1, 64, 64)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", encoded(a_photo(2, 64, 64)))
    report = check(path, tmp_path / "work", "my cat", "", 64)
    assert [photo.name for photo in report.used] == ["a.png", "a.png (2)"]


def test_a_bomb_of_one_member_is_refused(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", {"a.png": PHOTO, "bomb.bmp": bytes(20_000_000)})
    assert f"more than {RATIO_MAX} times" in refusal(path)


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", {"bomb.bmp": bytes(20_000_000)})
    data = path.read_bytes().replace(struct.pack("<I", 20_000_000), struct.pack("<I", 1000))
    path.write_bytes(data)
    [file] = read_source(path)
    assert file.data is None or len(file.data) <= 1000  # zipfile reads what was claimed, no more


@pytest.mark.slow
def test_a_bomb_of_many_members_is_refused(tmp_path: Path) -> None:
    big = PHOTO + bytes(range(256)) * 4 * 15_000  # 15 MB each: 14 are too many
    path = a_zip(tmp_path / "a.zip", {f"{n}.png": big for n in range(15)}, packed=False)
    assert f"more than {BYTES_MAX // 1_000_000} MB" in refusal(path)


def test_members_that_share_their_bytes_are_counted_each(tmp_path: Path) -> None:
    """David Fifield's bomb: every entry of the list points at the same packed bytes."""
    path = a_zip(tmp_path / "a.zip", {"a.png": PHOTO + bytes(range(256)) * 40_000}, packed=False)
    data = path.read_bytes()
    start = data.rindex(b"PK\x01\x02")
    end = data.rindex(b"PK\x05\x06")
    entry = data[start:end]
    copies = 30
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, copies, copies, len(entry) * copies, start, 0)
    path.write_bytes(data[:start] + entry * copies + tail)
    files = read_source_or_refusal(path)
    assert isinstance(files, str) or sum(len(file.data or b"") for file in files) <= BYTES_MAX


def read_source_or_refusal(path: Path) -> list[SourceFile] | str:
    try:
        return read_source(path)
    except PhotosRefused as error:
        return str(error)


def test_too_many_photos_or_files_are_refused(tmp_path: Path) -> None:
    photos = {f"{n}.png": b"x" for n in range(PHOTOS_MAX + 1)}
    assert f"more than {PHOTOS_MAX} photos" in refusal(a_zip(tmp_path / "a.zip", photos))
    texts = {f"{n}.txt": b"x" for n in range(FILES_MAX + 1)}
    assert f"more than {FILES_MAX} files" in refusal(a_zip(tmp_path / "b.zip", texts))
    assert f"more than {PHOTOS_MAX} photos" in refusal(a_folder(tmp_path / "c", photos))
    a_zip(tmp_path / "d.zip", dict.fromkeys((f"{n}.png" for n in range(PHOTOS_MAX)), PHOTO))
    assert len(read_source(tmp_path / "d.zip")) == PHOTOS_MAX


def test_a_list_of_members_without_end_is_not_taken_into_memory(tmp_path: Path) -> None:
    members = {f"{'x' * 200}{n}.png": b"" for n in range(5000)}
    assert "list of files is too long" in refusal(a_zip(tmp_path / "a.zip", members))


def test_what_is_no_zip_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and nothing else")
    assert refusal(tmp_path / "a.zip") == "The zip 'a.zip' is damaged."
    assert "There is no folder, zip or photo 'none.zip'" in refusal(tmp_path / "none.zip")
    a_zip(tmp_path / "empty.zip", {})
    with pytest.raises(PhotosRefused, match="no photos"):
        check(tmp_path / "empty.zip", tmp_path / "work", "my cat", "", 64)


def test_a_damaged_member_is_left_out_alone(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "a.zip", {"a.png": PHOTO, "b.png": encoded(a_photo(2, 64, 64))})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF  # inside the first member
    path.write_bytes(data)
    found = by_name(path)
    assert found["a.png"].refused == "It is damaged inside the zip."
    assert found["b.png"].refused == ""


@given(st.data())
def test_damaged_zips_give_files_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    path = a_zip(folder / "a.zip", {"a.png": PHOTO[:300], "a.txt": b"words", "b/c.png": b"x"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    result = read_source_or_refusal(path)
    if isinstance(result, str):
        assert result.endswith(".")


def test_links_and_pipes_in_a_folder_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PHOTO)
    folder = a_folder(tmp_path / "photos", {"a.png": PHOTO, ".hidden/b.png": PHOTO})
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "out").symlink_to(tmp_path)
    files = {file.name: file.refused for file in read_source(folder)}
    assert files == {"a.png": "", "link.png": "It is a link to another file."}
