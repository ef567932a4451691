# SPDX-License-Identifier: Apache-2.0
"""Preprocessing from the config.json that timm saves beside a model (``pretrained_cfg``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from hwgen.board import validation_problems
from hwgen.errors import Problem, UserError
from hwgen.quantize.images import INTERPOLATIONS, Preprocessing

Finite = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[int, Field(gt=0)]
SECTION = "pretrained_cfg"


class _Config(BaseModel):
    """The fields that matter here; there are many others."""

    mean: tuple[Finite, ...] | None = None
    std: tuple[Finite, ...] | None = None
    input_size: tuple[Size, Size, Size] | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    crop_mode: Literal["center"] | None = None
    interpolation: Literal[INTERPOLATIONS] = "bilinear"  # type: ignore[valid-type]


def preprocessing(
    config: Path | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None, resize: int | None
) -> Preprocessing:
    """What the options and, where they are None, the file say.

    Raises UserError for a file that is missing, no JSON, has no ``pretrained_cfg`` (or its fields directly), or holds a
    value that is wrong or not supported; all of them.
    """
    if config is None:
        return Preprocessing(mean, std, resize)
    explicit = {"mean": mean, "std": std, "crop_mode": resize}
    data = {name: value for name, value in _section(config).items() if explicit.get(name) is None}
    try:
        found = _Config.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{config} is not a config that can be used:", validation_problems(error)) from error
    mean, std = mean or found.mean, std or found.std
    missing = [name for name, value in (("mean", mean), ("std", std)) if value is None]
    if missing:
        problems = [Problem(name, SECTION, "is missing", f"Add it, or --{name}") for name in missing]
        raise UserError(f"{config} is not a config that can be used:", problems)
    return Preprocessing(mean, std, resize, found.crop_pct, found.interpolation, found.input_size, config)


def _section(config: Path) -> dict[str, Any]:
    try:
        data = json.loads(config.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {config}: {error.strerror or error}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{config} is not JSON ({error}). Give the config.json of a timm model.") from error
    section = data.get(SECTION, data) if isinstance(data, dict) else None
    if not isinstance(section, dict) or not {"mean", "std", "input_size"} & set(section):
        raise UserError(f"{config} has no {SECTION} with mean, std or input_size. Give a timm model's config.json.")
    return section
