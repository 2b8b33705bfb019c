"""Uploads have a total, of each payer and of all, and leave room on the disk; over real HTTP."""

import base64
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sdgen import scratch
from sdgen.config import Settings
from sdgen.errors import StorageFailed, TooMuch
from sdgen.studio import Studio
from sdgen.web.uploads import MEGABYTE, Ledger
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS, served

pytestmark = GRADIO_WARNINGS
ANN, BOB = {"X-Sdgen-Token": "a" * 32}, {"X-Sdgen-Token": "b" * 32}


@contextmanager
def page(tmp_path: Path, **given: object) -> Iterator[httpx.Client]:
    own = Settings(data_dir=tmp_path / "data", **given)  # type: ignore[arg-type]
    studio = Studio(own, FakeEngine(), FakeModelFiles())
    try:
        with served(studio, own) as url, httpx.Client(base_url=url, timeout=60) as client:
            (Path(os.environ[scratch.VARIABLE]) / ".owned").touch()  # as launch makes it
            yield client
    finally:
        studio.close()


def upload(client: httpx.Client, size: int, who: dict[str, str], chunked: bool = False):  # type: ignore[no-untyped-def]
    body = secrets.token_bytes(size)
    if not chunked:
        return client.post("/gradio_api/upload", files={"files": ("x.bin", body)}, headers=who)
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.bin"\r\n\r\n'

    def pieces() -> Iterator[bytes]:
        yield head
        for start in range(0, size, MEGABYTE):
            yield body[start : start + MEGABYTE]
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    return client.post("/gradio_api/upload", content=pieces(), headers=who | kind)


def parts() -> list[Path]:
    return [p for p in scratch.folder_in_use().iterdir() if p.is_file() and p.name != ".owned"]


def test_one_person_s_uploads_have_a_total(tmp_path: Path) -> None:
    with page(tmp_path, max_uploads_mb_per_user=3) as client:
        (path,) = upload(client, 2 * MEGABYTE, ANN).json()
        refused = upload(client, 2 * MEGABYTE, ANN)
        assert refused.status_code == 413
        assert "at most 3 MB of one person" in refused.text
        assert upload(client, 2 * MEGABYTE, BOB).status_code == 200
        Path(path).unlink()  # as it is after a day
        assert upload(client, 2 * MEGABYTE, ANN).status_code == 200


def test_all_uploads_have_a_total(tmp_path: Path) -> None:
    with page(tmp_path, max_uploads_mb=5) as client:
        assert upload(client, 3 * MEGABYTE, ANN).status_code == 200
        refused = upload(client, 3 * MEGABYTE, BOB)
        assert refused.status_code == 507
        assert "5 MB" in refused.text
        assert upload(client, MEGABYTE, BOB).status_code == 200


def test_one_that_does_not_say_how_long_it_is_is_stopped_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with page(tmp_path, max_uploads_mb_per_user=10) as client:
        refused = upload(client, 30 * MEGABYTE, ANN, chunked=True)
        assert refused.status_code == 413
        assert parts() == []
        assert scratch.used_bytes(scratch.folder_in_use()) == 0
        assert upload(client, 5 * MEGABYTE, ANN, chunked=True).status_code == 200


def test_some_room_on_the_disk_stays(tmp_path: Path) -> None:
    with page(tmp_path, temp_reserve_mb=10**9) as client:
        refused = upload(client, 1000, ANN)
        assert refused.status_code == 507
        assert "temporary files" in refused.text
        assert str(tmp_path) not in refused.text
        ready = client.get("/readyz")
        assert (ready.status_code, "temporary files" in ready.json()["reason"]) == (503, True)


# --- the ledger


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(scratch.VARIABLE, str(tmp_path))
    return tmp_path


def test_what_is_on_its_way_counts_already(folder: Path) -> None:
    ledger = Ledger(total=100, payers=60, reserve=0)
    first = ledger.begin("ann", 50)
    with pytest.raises(TooMuch):
        ledger.begin("ann", 11)
    with pytest.raises(StorageFailed):
        ledger.begin("bob", 51)
    ledger.begin("bob", 50)
    ledger.end(first)
    ledger.end(first)
    assert ledger.begin("ann", 40).payer == "ann"


def test_one_that_lies_about_its_length_counts_as_it_is(folder: Path) -> None:
    ledger = Ledger(total=1000, payers=60, reserve=0)
    liar = ledger.begin("ann", 1)
    liar.received = 61
    with pytest.raises(TooMuch):
        ledger.look(liar)


def test_strangers_have_less(settings: Settings) -> None:
    own, strangers = (Ledger.of(settings, strangers=public) for public in (False, True))
    assert (own.total, own.payers) == (8_000_000_000, 4_000_000_000)
    assert (strangers.total, strangers.payers) == (1_000_000_000, 200_000_000)
    chosen = settings.model_copy(update={"max_uploads_mb": 7, "max_uploads_mb_per_user": 3})
    assert Ledger.of(chosen, strangers=True).payers == 3_000_000


def test_a_file_in_the_text_of_a_tool_s_call_is_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its letters are written as numbers."""

    def call(who: dict[str, str]) -> httpx.Response:
        text = base64.b64encode(secrets.token_bytes(600_000)).decode()
        body = json.dumps(
            {
                "jsonrpc": "2.0", "id": 1, "method": "tools/call",
                "params": {"name": "verify", "arguments": {"picture": f"data:;base64,{text}"}},
            }
        ).replace('"data:', '"\\u0064ata:')  # fmt: skip
        kind = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        return client.post("/gradio_api/mcp/", content=body, headers=who | kind)

    with page(tmp_path, mcp=True, max_uploads_mb_per_user=2, max_uploads_mb=4) as client:
        # Gradio reads it when it is imported, which the app does once it has its folder.
        monkeypatch.setattr("gradio.mcp.DEFAULT_TEMP_DIR", os.environ[scratch.VARIABLE])
        answers = [call(ANN) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 413, 413]
        assert "at most 2 MB of one person" in answers[-1].text
        lying = [copy for copy in scratch.files_in(scratch.folder_in_use()) if copy.size == 600_000]
        assert len(lying) == 4  # Gradio's tools upload it to their own app besides
        assert call(BOB).status_code == 200
        assert upload(client, MEGABYTE, ANN).status_code == 413
