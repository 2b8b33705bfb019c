"""Content credentials: signed last, read back, and every changed byte is noticed."""

import io
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from sdgen.config import Settings
from sdgen.credentials import Signer, read_credentials
from sdgen.errors import StorageFailed
from sdgen.job import Note, Saved
from sdgen.metadata import read_recipe
from sdgen.studio import Studio
from tests.conftest import FakeEngine, FakeModelFiles, ask

pytest.importorskip("c2pa")


def picture() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("sdgen", "ein Rezept: மின்னல்")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()


PLAIN = picture()


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Signer(tmp_path_factory.mktemp("data") / "credentials").sign(PLAIN)


def test_a_signed_picture_says_that_a_model_made_it(signed: bytes) -> None:
    found = read_credentials(signed)
    assert (found.state, found.by_model) == ("intact", True)
    assert found.made_by.startswith("sdgen ")
    assert read_credentials(PLAIN).state == "none"


def test_signing_keeps_pixels_and_texts_and_costs_few_bytes(signed: bytes) -> None:
    before, after = (Image.open(io.BytesIO(png)) for png in (PLAIN, signed))
    assert isinstance(before, PngImagePlugin.PngImageFile)
    assert isinstance(after, PngImagePlugin.PngImageFile)
    assert before.tobytes() == after.tobytes()
    assert before.text == after.text
    assert len(signed) - len(PLAIN) < 6000


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_changed_byte_outside_the_credentials_is_noticed(
    signed: bytes, place: float, flip: int
) -> None:
    start = signed.index(b"caBX") - 4  # the chunk of the credentials: length, name, content, CRC
    end = start + 12 + int.from_bytes(signed[start : start + 4], "big")
    places = [*range(8, start), *range(end, len(signed))]
    changed = bytearray(signed)
    changed[places[int(place * len(places))]] ^= flip
    assert read_credentials(bytes(changed)).state != "intact"


def test_saving_it_again_drops_them(signed: bytes) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(signed)).save(buffer, "PNG")
    assert read_credentials(buffer.getvalue()).state == "none"


@pytest.mark.parametrize("junk", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"x" * 1000])
def test_what_is_no_picture_is_not_intact(junk: bytes) -> None:
    assert read_credentials(junk).state != "intact"


def test_an_installation_keeps_its_certificate_and_hides_its_key(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    first = Signer(folder)
    first.sign(PLAIN)
    certificate = (folder / "certificate.pem").read_text()
    assert read_credentials(Signer(folder).sign(PLAIN)).state == "intact"
    assert (folder / "certificate.pem").read_text() == certificate
    if sys.platform != "win32":
        assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


def test_half_an_identity_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    Signer(folder).sign(PLAIN)
    (folder / "certificate.pem").unlink()
    assert read_credentials(Signer(folder).sign(PLAIN)).state == "intact"


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="certificate"):
        Signer(tmp_path / "file" / "credentials").sign(PLAIN)


def test_the_studio_signs_what_it_saves(studio: Studio) -> None:
    job = studio.start(ask())
    saved = [event for event in job.events() if isinstance(event, Saved)]
    found = read_credentials(saved[0].path.read_bytes())
    assert (found.state, found.by_model) == ("intact", True)
    assert read_recipe(saved[0].path).prompt == ask().prompt


def test_a_picture_is_kept_unsigned_rather_than_lost(
    settings: Settings, engine: FakeEngine, model_files: FakeModelFiles
) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / "credentials").write_text("in the way")
    studio = Studio(settings, engine, model_files)
    events = list(studio.start(ask()).events())
    studio.close()
    path = next(event.path for event in events if isinstance(event, Saved))
    assert read_credentials(path.read_bytes()).state == "none"
    assert any("without content credentials" in e.text for e in events if isinstance(e, Note))
