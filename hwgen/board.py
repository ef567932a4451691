# SPDX-License-Identifier: Apache-2.0
"""Boards are data: ``boards/<name>/board.toml`` with the part, its resources, memory, ports and addresses.

A user's own file works the same way (``--board path/to/board.toml``); docs/contracts.md lists the fields.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwgen.errors import BoardError, Problem, UserError
from hwgen.resources import folder

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RESOURCES = ("lut", "ff", "dsp", "bram36", "uram")
PORTS = ("gmem_w0", "gmem_w1", "gmem_w2", "gmem_w3", "gmem_io")
"""AXI4 masters of the accelerator: four read weights, one moves program, input, output and trace."""


@dataclass(frozen=True)
class Port:
    """An AXI4 master of the accelerator and the slave port of the processing system it is wired to."""

    name: str
    slave: str
    bits: int


@dataclass(frozen=True)
class Board:
    """What the planner and the backends know of a board. Bandwidths in bytes a second."""

    name: str
    title: str
    part: str
    dsp_kind: str
    """DSP48E2, or DSP48E1, for which this version builds no machine."""
    clock_mhz: float
    resources: dict[str, int]
    """What the part has; keys are :data:`RESOURCES`."""
    limits: dict[str, int]
    """How much of it the planner may use, as counts."""
    ddr_bytes: int
    ddr_bits: int
    ddr_peak_bytes_per_second: float
    ddr_bytes_per_second: float
    """Usable share, which the planner counts on."""
    ports: tuple[Port, ...]
    control_port: str
    control_base: int
    control_bytes: int
    sources: dict[str, str]
    """Section of the file -> where its figures come from."""
    board_part: str = ""
    """Name of Vivado's board files; without version: the latest. Empty: none, the processing system is left at its
    defaults."""
    board_connections: str = ""
    """Pairs of a connector and what is plugged into it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for manifest.json and ``--json``; :func:`board_from_dict` reads it back."""
        return asdict(self)


def board_from_dict(data: dict[str, Any]) -> Board:
    """The inverse of :meth:`Board.to_dict`."""
    return Board(**{**data, "ports": tuple(Port(**p) for p in data["ports"])})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


_Text = Annotated[str, Field(min_length=1)]
_Count = Annotated[int, Field(ge=0, le=100_000_000, strict=True)]
_Share = Annotated[float, Field(gt=0.0, le=1.0)]
_Rate = Annotated[float, Field(gt=0.0, le=1e13, allow_inf_nan=False)]


class _BoardSection(_Strict):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
    title: str = ""
    part: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
    dsp: Literal["DSP48E2", "DSP48E1"]
    source: _Text


class _Resources(_Strict):
    lut: Annotated[_Count, Field(gt=0)]
    ff: Annotated[_Count, Field(gt=0)]
    dsp: Annotated[_Count, Field(gt=0)]
    bram36: Annotated[_Count, Field(gt=0)]
    uram: _Count = 0
    source: _Text


class _Planning(_Strict):
    lut: _Share = 0.70
    ff: _Share = 0.50
    dsp: _Share = 0.90
    bram36: _Share = 0.90
    uram: _Share = 0.90
    source: _Text = "defaults of hwgen"


class _Clock(_Strict):
    mhz: Annotated[float, Field(ge=10.0, le=1000.0)]
    source: _Text


class _Ddr(_Strict):
    bytes: Annotated[int, Field(gt=0, strict=True)]
    bits: Literal[16, 32, 64, 128]
    peak_bytes_per_second: _Rate
    usable_bytes_per_second: _Rate
    source: _Text

    @model_validator(mode="after")
    def _usable_below_peak(self) -> _Ddr:
        if self.usable_bytes_per_second > self.peak_bytes_per_second:
            raise ValueError("usable_bytes_per_second is larger than peak_bytes_per_second")
        return self


class _Control(_Strict):
    port: _Text
    base: Annotated[int, Field(ge=0, strict=True)]
    bytes: Annotated[int, Field(ge=4096, strict=True)] = 65536
    source: _Text


class _Vivado(_Strict):
    board_part: Annotated[str, Field(pattern=r"^[\w.-]+(:[\w.-]+){2,3}$")]
    board_connections: Annotated[str, Field(pattern=r"^([\w.-]+ [\w.-]+(:[\w.-]+){3}( |$))*$")] = ""
    source: _Text

    @model_validator(mode="after")
    def _both_versions(self) -> _Vivado:
        if self.board_connections and self.board_part.count(":") != 3:
            raise ValueError("board_connections states versions, so board_part must (vendor:name:file:version)")
        return self


class _Port(_Strict):
    name: Literal["gmem_w0", "gmem_w1", "gmem_w2", "gmem_w3", "gmem_io"]
    slave: _Text
    bits: Literal[128]


class _BoardFile(_Strict):
    board: _BoardSection
    resources: _Resources
    planning: _Planning = _Planning()
    clock: _Clock
    ddr: _Ddr
    control: _Control
    vivado: _Vivado | None = None
    ports: tuple[_Port, ...]

    @model_validator(mode="after")
    def _each_port_once(self) -> _BoardFile:
        names = sorted(p.name for p in self.ports)
        if names != sorted(PORTS):
            found = ", ".join(names) or "none"
            raise ValueError(f"ports must hold each of {', '.join(PORTS)} exactly once, found {found}")
        return self


def validation_problems(error: ValidationError) -> list[Problem]:
    """One Problem a field: its dotted name, what is wrong with the value, what to do."""
    problems = []
    for detail in error.errors(include_url=False):
        where = ".".join(str(part) for part in detail["loc"]) or "file"
        message = detail["msg"].removeprefix("Value error, ")
        kind = detail["type"]
        if kind == "missing":
            reason, hint = "is missing", "Add it."
        elif kind == "extra_forbidden":
            reason, hint = "is not a known field", "Remove it or mend its spelling."
        elif kind == "value_error":
            reason, hint = message, "Mend these values."
        else:
            reason, hint = f"{message} (found {detail['input']!r})", "Mend this value."
        problems.append(Problem(where, "", reason[:300], hint))
    return problems


def read_toml(path: Path, error: type[UserError] = BoardError) -> dict[str, Any]:
    """The file as plain data; raises ``error`` if it cannot be read or is not TOML."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as e:
        raise error(f"cannot read {path}: {e.strerror or e}. Check the path and its permissions.") from e
    except UnicodeDecodeError as e:
        raise error(f"{path} is not a text file in UTF-8. Save it as plain TOML.") from e
    except tomllib.TOMLDecodeError as e:
        raise error(f"{path} is not valid TOML: {e}. Mend that line.") from e
    return data


def board_names() -> list[str]:
    """Names of the boards that come with hwgen."""
    return sorted(path.parent.name for path in folder("boards").glob("*/board.toml"))


def load_board(name_or_path: str | Path) -> Board:
    """A board by its name, by the path of its board.toml, or by the folder that holds one.

    Raises BoardError with every wrong field, or with the names that exist.
    """
    text = str(name_or_path)
    names = board_names()
    path = Path(text)
    if text in names:
        path = folder("boards") / text / "board.toml"
    elif path.is_dir() and (path / "board.toml").is_file():
        path = path / "board.toml"
    elif not path.is_file():
        looks_like_path = path.suffix == ".toml" or len(path.parts) > 1
        what = f"there is no board file {text}" if looks_like_path else f"there is no board named {text!r}"
        raise BoardError(f"{what}. Use one of: {', '.join(names)}; or give the path of your own board.toml.")
    data = read_toml(path)
    try:
        file = _BoardFile.model_validate(data)
    except ValidationError as error:
        raise BoardError(f"{path} does not describe a board:", validation_problems(error)) from error
    return _board(file)


def _board(file: _BoardFile) -> Board:
    resources = {key: int(getattr(file.resources, key)) for key in RESOURCES}
    sections = ("board", "resources", "planning", "clock", "ddr", "control", *(["vivado"] if file.vivado else []))
    return Board(
        name=file.board.name,
        title=file.board.title or file.board.name,
        part=file.board.part,
        dsp_kind=file.board.dsp,
        clock_mhz=file.clock.mhz,
        resources=resources,
        # the epsilon keeps 0.9 * 2520 = 2268 from losing a unit to the binary fraction
        limits={key: int(count * getattr(file.planning, key) + 1e-6) for key, count in resources.items()},
        ddr_bytes=file.ddr.bytes,
        ddr_bits=file.ddr.bits,
        ddr_peak_bytes_per_second=file.ddr.peak_bytes_per_second,
        ddr_bytes_per_second=file.ddr.usable_bytes_per_second,
        ports=tuple(Port(p.name, p.slave, p.bits) for p in file.ports),
        control_port=file.control.port,
        control_base=file.control.base,
        control_bytes=file.control.bytes,
        sources={section: getattr(file, section).source for section in sections},
        board_part=file.vivado.board_part if file.vivado else "",
        board_connections=file.vivado.board_connections if file.vivado else "",
    )
