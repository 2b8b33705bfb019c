"""Every knob is read once, from a variable or an option, and a wrong one is named."""

from pathlib import Path

import pytest

from sdgen.config import Settings, read_settings
from sdgen.errors import SettingError


def test_the_defaults_open_nothing_to_others() -> None:
    settings = read_settings()
    assert settings.host == "127.0.0.1"
    assert not settings.is_public
    assert not settings.share
    assert settings.login() is None


def test_variables_count_and_options_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGEN_PORT", "8000")
    monkeypatch.setenv("SDGEN_MODEL", "sd15")
    monkeypatch.setenv("SDGEN_DATA_DIR", "/somewhere")
    settings = read_settings(port=9000, model=None)
    assert (settings.port, settings.model) == (9000, "sd15")
    assert settings.data_dir == Path("/somewhere")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SDGEN_PORT", "70000"),
        ("SDGEN_PORT", "web"),
        ("SDGEN_DEVICE", "tpu"),
        ("SDGEN_SHARE", "perhaps"),
        ("SDGEN_MAX_QUEUE", "0"),
        ("SDGEN_THREADS", "-1"),
    ],
)
def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingError, match=variable):
        read_settings()


def test_others_can_reach_it_by_a_link_or_an_address() -> None:
    assert read_settings(share=True).is_public
    assert read_settings(host="0.0.0.0").is_public
    assert read_settings(yes_public=True).is_public  # behind a proxy on the same machine
    assert not read_settings(host="localhost").is_public


def test_a_login_has_a_name_and_a_password() -> None:
    assert read_settings(auth="me:pass:word").login() == ("me", "pass:word")
    for wrong in ("me", ":password", "me:"):
        with pytest.raises(SettingError, match="name:password"):
            read_settings(auth=wrong).login()


def test_a_password_is_never_shown() -> None:
    settings = read_settings(auth="me:sk-CANARY")
    assert "CANARY" not in f"{settings!r} {settings} {settings.model_dump()} "
    assert "CANARY" not in settings.model_dump_json()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().port = 1
    assert Settings.model_config["frozen"]


def test_on_a_space_with_a_gpu_the_default_is_a_real_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/space")
    monkeypatch.setenv("ACCELERATOR", "none")
    assert read_settings().model == ""
    monkeypatch.setenv("ACCELERATOR", "a10g")
    assert read_settings().model == "sd15"
    assert read_settings(model="picturebook").model == "picturebook"
    monkeypatch.delenv("ACCELERATOR")
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert read_settings().model == "sd15"
    monkeypatch.delenv("SPACE_ID")
    assert read_settings().model == ""
