# SPDX-License-Identifier: Apache-2.0
"""What ``hwgen build`` is asked for: the command line, and ``hwgen.toml`` in the current folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwgen.board import read_toml, validation_problems
from hwgen.errors import UserError
from hwgen.pipeline import BuildOptions

FILE = "hwgen.toml"

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """The fields of ``hwgen.toml`` (all optional there); names as the options of ``hwgen build``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = None
    board: str | None = None
    output: str | None = None
    batch: Annotated[int, Field(ge=1, le=1024)] = 1
    clock: Annotated[float, Field(ge=10, le=1000)] | None = None
    mean: tuple[_Finite, ...] | None = None
    std: tuple[_Positive, ...] | None = None
    classes: str | None = None
    synth: bool = False
    bitstream: bool = False
    target_fps: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _mean_with_std(self) -> Settings:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together: give both or neither")
        if self.mean is not None and self.std is not None and (len(self.mean) != len(self.std) or not self.mean):
            raise ValueError(f"mean has {len(self.mean)} values, std has {len(self.std)}; one of each for a channel")
        return self


def resolve(given: dict[str, Any], folder: Path) -> BuildOptions:
    """The options of a build: ``given`` (None: not given) over ``folder``/hwgen.toml over the defaults.

    Raises UserError naming every wrong field.
    """
    path = folder / FILE
    stated = read_toml(path, UserError) if path.is_file() else {}
    try:
        Settings.model_validate(stated)
    except ValidationError as error:
        raise UserError(f"{FILE} is not right:", validation_problems(error)) from error
    chosen = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings.model_validate({**stated, **chosen})
    except ValidationError as error:
        raise UserError("these options are not right:", validation_problems(error)) from error
    missing = [
        (settings.model, "the model", "Name it: hwgen build MODEL --board BOARD -o DIR"),
        (settings.board, "the board", "Add --board NAME; hwgen boards lists them"),
        (settings.output, "the output folder", "Add -o DIR"),
    ]
    for value, what, hint in missing:
        if not value:
            raise UserError(f"{what} is not given. {hint}, or set it in {FILE}.")
    assert settings.model and settings.board and settings.output
    return BuildOptions(
        model=Path(settings.model),
        board=settings.board,
        output=Path(settings.output),
        batch=settings.batch,
        clock_mhz=settings.clock,
        mean=settings.mean,
        std=settings.std,
        classes=None if settings.classes is None else Path(settings.classes),
        synth=settings.synth,
        bitstream=settings.bitstream,
        target_fps=settings.target_fps,
    )


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """``"0.5,0.4,0.4"`` as numbers; raises UserError for anything else."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UserError(
            f"{option} {text!r} is not a list of numbers. Give one a channel, separated by commas: 0.485,0.456,0.406."
        ) from error
