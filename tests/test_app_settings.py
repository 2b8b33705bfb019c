"""Gradio's settings that are defects if forgotten, the options, and who may reach the page."""

import gc
import importlib.util
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from pydantic import SecretStr

from sdgen import launch
from sdgen.config import Settings, read_settings
from sdgen.errors import SettingError
from sdgen.studio import Studio
from sdgen.ui.app import build, launch_options
from sdgen.version import VERSION
from tests import extra_tab
from tests.conftest import FakeEngine, FakeModelFiles
from tests.serving import GRADIO_WARNINGS

pytestmark = GRADIO_WARNINGS
PUBLIC_ENDPOINTS = {
    "generate", "submit", "job", "cancel", "models", "enhance", "adapters", "inspect_adapter",
    "verify",
}  # fmt: skip


@pytest.fixture
def demo(studio: Studio, settings: Settings) -> Iterator[Any]:
    made = build(studio, settings)
    yield made
    made.close(verbose=False)
    del made
    gc.collect()


def test_no_setting_of_gradio_is_forgotten(demo: Any, studio: Studio, settings: Settings) -> None:
    options = launch_options(studio, settings)
    expected = {
        "show_error": False,
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": "2001mb",  # of adapters; pictures have their own limit
        "ssr_mode": False,
        "strict_cors": True,
        "allowed_paths": [],
        "server_name": "127.0.0.1",
        "share": False,
        "auth": None,
        "mcp_server": False,
        "max_threads": 128,  # with Gradio's 40, as many slow drafts would stop the page
    }
    assert {name: options[name] for name in expected} == expected
    assert launch_options(studio, settings, on_space=True)["max_file_size"] == "32mb"
    assert demo.api_open is False
    assert demo.delete_cache is not None
    assert demo.analytics_enabled is False
    for event in demo.fns.values():
        assert event.concurrency_limit is None, event.api_name
        public = event.api_name in PUBLIC_ENDPOINTS
        assert event.api_visibility == ("public" if public else "private"), event.api_name
    assert {event.api_name for event in demo.fns.values()} >= {"generate", "models"}
    drawing = [event for event in demo.fns.values() if event.api_name in ("draw", "generate")]
    assert len(drawing) == 2
    assert all(event.types_generator for event in drawing)


def test_pictures_are_handed_over_as_files_never_as_pixels(demo: Any) -> None:
    kinds = {type(block) for block in demo.blocks.values()}
    assert not kinds & {gr.Image, gr.Gallery}  # both write new files from PIL images, as WebP
    files = [block for block in demo.blocks.values() if isinstance(block, gr.File)]
    assert {file.elem_id for file in files} == {"drop", "adapter-file"}
    assert {file.type for file in files} == {"filepath"}


def test_what_a_browser_keeps_has_a_fixed_key_and_no_secret(demo: Any) -> None:
    kept = [block for block in demo.blocks.values() if isinstance(block, gr.BrowserState)]
    assert {block.storage_key for block in kept} >= {"sdgen.form", "sdgen.enhance"}
    assert len({block.secret for block in kept}) == 1
    kept_ids = {block._id for block in kept}
    for event in demo.fns.values():
        if any(getattr(block, "type", "") == "password" for block in event.inputs):
            assert event.api_visibility == "private"
            assert not kept_ids & {block._id for block in event.outputs}


def test_gradio_s_environment_is_set_before_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (*launch.ENVIRONMENT, "GRADIO_TEMP_DIR"):
        monkeypatch.delenv(name, raising=False)
    with launch.gradio_environment():
        assert os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] == "1000000"
        assert os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] == "200"
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
        assert os.environ["DIFFUSERS_DISABLE_REMOTE_CODE"] == "1"
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.is_dir()
        if os.name != "nt":
            assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_a_space_is_public_by_nature(studio: Studio, settings: Settings) -> None:
    options = launch_options(studio, settings, on_space=True)
    assert options["server_name"] == "0.0.0.0"
    assert options["share"] is False
    launch.refuse_public(settings, on_space=True)


@pytest.mark.parametrize("given", [{"share": True}, {"host": "0.0.0.0"}, {"host": "192.168.1.7"}])
def test_an_open_page_needs_a_login_or_a_plain_yes(given: dict[str, Any], tmp_path: Path) -> None:
    def settings(**more: Any) -> Settings:
        return Settings(data_dir=tmp_path, **given, **more)

    with pytest.raises(SettingError, match="anybody who has the link") as refused:
        launch.refuse_public(settings(), on_space=False)
    assert "--yes-public" in str(refused.value)
    launch.refuse_public(settings(yes_public=True), on_space=False)
    launch.refuse_public(settings(auth=SecretStr("ann:secret")), on_space=False)
    launch.refuse_public(settings(), on_space=True)


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--share"], "--yes-public"),
        (["--host", "0.0.0.0"], "--yes-public"),
        (["--auth", "nocolon"], "name:password"),
        (["--port", "70000"], "SDGEN_PORT"),
    ],
)
def test_options_that_cannot_be_used_end_with_code_2(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(argv) == launch.REFUSED == 2
    assert sentence in capsys.readouterr().err


def test_options_become_settings(tmp_path: Path) -> None:
    argv = ["--port", "7999", "--data-dir", str(tmp_path), "--auth", "ann:s3cret", "--mcp"]
    given = vars(launch.parser().parse_args(argv))
    settings = read_settings(**given)
    assert (settings.port, settings.data_dir, settings.mcp) == (7999, tmp_path, True)
    assert settings.login() == ("ann", "s3cret")
    assert "s3cret" not in repr(settings)
    assert settings.host == "127.0.0.1"


def test_a_variable_counts_where_no_option_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDGEN_PORT", "7998")
    assert read_settings(**vars(launch.parser().parse_args([]))).port == 7998
    assert read_settings(**vars(launch.parser().parse_args(["--port", "7997"]))).port == 7997


def test_mcp_without_its_package_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "mcp" else find_spec(name, *rest),
    )
    assert launch.main(["--mcp", "--data-dir", str(tmp_path)]) == launch.REFUSED
    assert "pip install 'gradio[mcp]'" in capsys.readouterr().err


def test_mcp_behind_a_login_is_refused(settings: Settings) -> None:
    both = settings.model_copy(update={"mcp": True, "auth": SecretStr("ann:secret")})
    with pytest.raises(SettingError, match="--auth"):
        launch.refuse_mcp(both)
    launch.refuse_mcp(both.model_copy(update={"auth": None}))


def test_help_names_every_option() -> None:
    text = launch.parser().format_help()
    options = "--host --port --share --model --data-dir --auth --yes-public --mcp"
    for option in options.split():
        assert option in text


def test_the_page_knows_no_paths_of_this_machine(demo: Any, settings: Settings) -> None:
    config = str(demo.get_config_file())
    assert str(settings.data_dir) not in config
    assert VERSION  # the page may say the version, never where it lives


def test_strangers_can_neither_see_nor_send_the_download_of_a_model(
    studio: Studio, settings: Settings
) -> None:
    page = build(studio, settings, on_space=True)
    fetch = next(fn.fn for fn in page.fns.values() if fn.fn and fn.fn.__name__ == "download")
    answers = list(fetch("sd15"))
    assert len(answers) == 1
    assert "operator" in answers[0][0]
    assert not studio.model("sd15").local
    page.close(verbose=False)
    del page, fetch
    gc.collect()


def test_strangers_can_neither_add_nor_fetch_nor_delete_an_adapter(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    page = build(studio, settings, on_space=True)
    handlers = {fn.fn.__name__: fn.fn for fn in page.fns.values() if fn.fn}
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"x")
    assert "operator" in str(handlers["add_file"](str(file), [], "picturebook", ""))
    assert "operator" in str(handlers["look_up"]("owner/name"))
    assert "operator" in str(list(handlers["fetch_it"]("owner/name", [], "picturebook", "")))
    assert "operator" in str(handlers["delete_it"]("storm-hero", [], "picturebook", ""))
    with pytest.raises(gr.Error, match="operator"):
        handlers["inspect_adapter"]({"path": str(file)})
    assert not (settings.data_dir / "adapters").exists()
    (more,) = [b for b in page.blocks.values() if getattr(b, "elem_id", "") == "adapter-more"]
    assert more.visible is False
    page.close(verbose=False)
    del page, handlers
    gc.collect()


def test_further_tabs_are_those_that_are_here_and_are_closed_at_the_end(
    studio: Studio, settings: Settings
) -> None:
    opened: list[object] = []
    tabs = launch.further_tabs(opened, (("Here", "tests.extra_tab"), ("Gone", "no_such.tab")))
    assert [title for title, _ in tabs] == ["Here"]
    assert launch.further_tabs(opened, (("Gone", "lora.no_such_tab"),)) == []
    page = build(studio, settings, tabs=tabs)
    (extra,) = opened
    assert isinstance(extra, extra_tab.Extra)
    titles = [block.label for block in page.blocks.values() if isinstance(block, gr.Tab)]
    assert titles == ["Generate", "Gallery", "Here"]
    page.close(verbose=False)
    del page, tabs
    gc.collect()


def test_a_space_fetches_its_own_model_at_start_and_can_be_stopped(
    engine: FakeEngine, model_files: FakeModelFiles, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, model="sd15")
    studio = Studio(settings, engine, model_files)
    stop = threading.Event()
    stop.set()
    launch.fetch_default(studio, stop)
    assert not studio.model("sd15").local
    stop.clear()
    launch.fetch_default(studio, stop)
    assert studio.model("sd15").local
    studio.close(1.0)
