"""The upload of a finished adapter: one commit, whole or not at all.

The token is that of `hf auth login` or HF_TOKEN; huggingface_hub reads it, nothing here ever does.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora.export.recipe_in_file import read_trained_recipe
from lora.export.run import KOHYA_SUFFIX, SUFFIX
from lora.hub.card import model_card
from lora.runs import RunFolder
from sdgen.errors import SdgenError
from sdgen.hub_errors import hub_errors
from sdgen.models import HubSource

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MOST_SAMPLES = 8


class PushFailed(SdgenError):
    """An adapter was not put on the Hub, with the reason and what to do about it."""


@dataclass(frozen=True)
class Pushed:
    """Where it lies now."""

    url: str
    private: bool
    files: tuple[str, ...]  # names in the repository


def push(
    run_folder: RunFolder | Path,
    adapter: Path,
    repo: str,
    *,
    private: bool = True,
    licence: str = "",
    endpoint: str | None = None,
) -> Pushed:
    """Put an exported adapter, its kohya copy, the chosen step's samples and a card on the Hub.

    Call it only after the user asked for just that. repo: "owner/name"; made if need be.
    endpoint: another address of the Hub than HF_ENDPOINT.
    Raises PushFailed, also where the repository is public and `private` was asked for; NoRecipe
    when the file is not one of ours.
    """
    run = run_folder if isinstance(run_folder, RunFolder) else RunFolder(run_folder)
    made = read_trained_recipe(adapter)
    samples = _samples(run, made.step)
    card = model_card(made, adapter.name, [(name, prompt) for name, _, prompt in samples], licence)
    files: list[tuple[str, Path]] = [(adapter.name, adapter)]
    kohya = adapter.with_name(adapter.name.removesuffix(SUFFIX) + KOHYA_SUFFIX)
    if kohya.is_file():
        files.append((kohya.name, kohya))
    files += [(name, path) for name, path, _ in samples]
    try:
        with hub_errors(HubSource(repo), PushFailed):
            return _upload(repo, card, files, private, endpoint)
    except PushFailed as error:
        if error.__cause__ is None:
            raise
        raise PushFailed(_sentence(repo, error.__cause__)) from error.__cause__


def _upload(
    repo: str, card: str, files: Sequence[tuple[str, Path]], private: bool, endpoint: str | None
) -> Pushed:
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    if not get_token():
        raise PushFailed(
            "This machine is not logged in to the Hub: run `hf auth login` with a token that may "
            "write, or set HF_TOKEN, and try again."
        )
    api = HfApi(endpoint=endpoint)
    api.create_repo(repo, private=private, exist_ok=True, repo_type="model")
    if private:
        _check_private(api, repo)
    operations: list[Any] = [CommitOperationAdd("README.md", card.encode())]
    operations += [CommitOperationAdd(name, str(path)) for name, path in files]
    api.create_commit(repo, operations, commit_message="An adapter trained with sdgen")
    names = ("README.md", *(name for name, _ in files))
    return Pushed(f"{api.endpoint.rstrip('/')}/{repo}", private, names)


def _check_private(api: "HfApi", repo: str) -> None:
    """Raises PushFailed when the repository was there before and everybody can read it."""
    if not api.model_info(repo).private:
        raise PushFailed(
            f"'{repo}' is there already and public. Choose another name, make it private on the "
            "Hub, or say that the adapter may be public. Nothing was uploaded."
        )


def _samples(run: RunFolder, step: int) -> list[tuple[str, Path, str]]:
    """(name in the repository, file, prompt) of the step's samples."""

    try:
        prompts = json.loads(run.samples_index.read_bytes())["prompts"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    found = []
    for index, prompt in enumerate(prompts[:MOST_SAMPLES]):
        path = run.sample_folder(step) / f"{index:02}.png"
        if path.is_file():
            found.append((f"samples/{path.name}", path, str(prompt)))
    return found


def _sentence(repo: str, error: BaseException) -> str:
    """What an error of the Hub means for who wants to upload."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "Nothing was uploaded because HF_HUB_OFFLINE is set; unset it to go online."
    if isinstance(error, errors.HFValidationError):
        return f"'{repo[:200]}' is not a valid Hub id; write owner/name."
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403, 404):
            return (
                f"The Hub refuses to write to '{repo}': log in with `hf auth login` and a token "
                "that may write there, and check the owner's name. Nothing was uploaded."
            )
        if status == 400 and "yaml" in str(error).lower():
            return "The Hub does not accept the model card; check the licence's name."
        return f"The Hub answered with an error ({status}); please try again later."
    if isinstance(error, FileNotFoundError | PermissionError):
        return "A file of the adapter is gone or cannot be read; export it again."
    return (
        f"'{repo}' was not uploaded: the Hub cannot be reached or the connection broke off. Check "
        "the network and try again; no part of it is visible there."
    )
