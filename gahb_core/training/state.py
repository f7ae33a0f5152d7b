"""The file of an unfinished training: whole and of its recipe, or refused.

One line, "gahb-state 1 <fingerprint of the recipe> <SHA-256 of the rest>", and then what torch
saved. Files from before that line are zip archives of torch alone, checked by their CRC-32.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gahb_core.files import write_safely
from gahb_core.training.recipes import Recipe, fingerprint

FIELDS = ("step", "seconds", "curve", "mean", "losses")
_MAGIC = b"gahb-state 1 "
_ZIP = b"PK"


def write_state(path: Path, data: dict[str, Any], recipe: str) -> None:
    """Write a state, whole or not at all; `recipe` is the fingerprint of what it is of."""
    content = io.BytesIO()
    torch.save(data | {"recipe": recipe}, content)
    body = content.getvalue()
    head = f"{recipe} {hashlib.sha256(body).hexdigest()}\n".encode()
    write_safely(path, _MAGIC + head + body)


def _unpack(content: bytes) -> bytes | None:
    """Return what torch saved, or None where a bit of it is not as it was written."""
    if content.startswith(_ZIP):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                return content if file.testzip() is None else None
        except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError):
            return None
    head, _, body = content.partition(b"\n")
    sha256 = head.rpartition(b" ")[2]
    whole = hashlib.sha256(body).hexdigest().encode() == sha256
    return body if whole and head.startswith(_MAGIC) else None


def _check(data: Any, recipe: Recipe) -> str | None:
    """Return what of a state cannot be, or None."""
    if not isinstance(data, dict) or not {*FIELDS, "net", "optimizer"} <= set(data):
        return "it must hold " + ", ".join((*FIELDS, "net", "optimizer"))
    if not (isinstance(data["step"], int) and 0 <= data["step"] <= recipe.num_steps):
        return f"step must be from 0 to {recipe.num_steps}, not {data['step']!r}"
    losses = data["losses"]
    if not (isinstance(losses, Tensor) and losses.shape == (100,)):
        return "losses must be a tensor of the last hundred"
    return None


def read_state(path: Path, recipe: Recipe) -> dict[str, Any]:
    """Return what `write_state` wrote.

    Raises:
        ValueError: where the file is cut, changed, foreign or of another recipe, and what to do.
    """
    body = _unpack(path.read_bytes())
    if body is None:
        raise ValueError(f"state {path} is cut, changed or foreign; delete it to start anew")
    try:
        data = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception as error:  # of a foreign archive, torch raises whatever it meets
        raise ValueError(f"state {path} is foreign; delete it to start anew") from error
    if isinstance(data, dict) and data.get("recipe") != fingerprint(recipe):
        raise ValueError(
            f"state {path} is of another recipe than {recipe.name!r}; delete it to start anew"
        )
    if wrong := _check(data, recipe):
        raise ValueError(f"state {path}: {wrong}; delete it to start anew")
    return data
