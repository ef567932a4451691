# SPDX-License-Identifier: Apache-2.0
"""Checkpoint files: timm's, MIT's and those of ``hwgen zoo train``. Reading one never executes code from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hwgen.errors import Problem, UserError
from hwgen.zoo.efficientvit import ARCHITECTURES, EfficientViT, LinearAttention

MIT_EPSILON = 1e-15
MIT_NAMES = (
    (r"backbone\.input_stem\.op_list\.0\.", r"stem.in_conv."),
    (r"backbone\.stages\.(\d+)\.op_list\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"head\.op_list\.0\.", r"head.in_conv."),
    (r"head\.op_list\.2\.linear\.", r"head.classifier.0."),
    (r"head\.op_list\.2\.norm\.", r"head.classifier.1."),
    (r"head\.op_list\.3\.linear\.", r"head.classifier.4."),
)
"""Beginnings of MIT's keys and ours; inside the blocks the names are the same."""
MIT_STEM_BLOCK = re.compile(r"backbone\.input_stem\.op_list\.(\d+)\.")
OPTIONAL = "num_batches_tracked"  # counts training steps; files may leave it out
SHOWN = 8
"""Problems of one kind that are listed by name; the others are counted."""
CLASSIFIER = "head.classifier.4."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint file: its tensors under the zoo's names, and what it says beside them."""

    path: Path
    state: dict[str, Tensor]
    dialect: str
    """Whose names it has: "timm" (also those of ``hwgen zoo train``) or "mit"."""
    image_size: int | None
    """This and the following: as ``hwgen zoo train`` writes them; None in other files."""
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    class_names: tuple[str, ...] | None

    def size(self, name: str, axis: int) -> int | None:
        """Of one axis of a tensor; None where there is none."""
        shape = self.state[name].shape if name in self.state else ()
        return int(shape[axis]) if len(shape) > axis else None

    @property
    def classes(self) -> int | None:
        """Number of classes, if the file has a classifier."""
        return self.size(f"{CLASSIFIER}weight", 0)

    @property
    def channels(self) -> int | None:
        """Number of input channels."""
        return self.size("stem.in_conv.conv.weight", 1)

    def load_into(self, model: EfficientViT, to_train: bool = False) -> None:
        """Set the weights of ``model``, or raise UserError with all that does not fit and leave them as they are.

        With ``to_train`` a last layer for other classes is left out, and ``model`` keeps its own; so it does the
        attention's epsilon, by which gradients are divided.
        """
        state = self.state
        if to_train and self.classes != model.classes:
            own = {k: v for k, v in model.state_dict().items() if k.startswith(CLASSIFIER)}
            state = {**state, **own}
        problems = list(_problems(model, state))
        if problems:
            raise UserError(f"{self.path} does not fit this model.{self._guess()}", problems)
        model.load_state_dict(state, strict=False)
        if self.dialect == "mit" and not to_train:
            for module in model.modules():
                if isinstance(module, LinearAttention):
                    module.epsilon = MIT_EPSILON

    def _guess(self) -> str:
        """A sentence that names the architecture that the file has, if it is one of the zoo's."""
        shapes = {k: v.shape for k, v in self.state.items() if not k.endswith(OPTIONAL)}
        for name, sizes in ARCHITECTURES.items() if self.classes and self.channels else ():
            with torch.device("meta"):
                own = EfficientViT(sizes, self.classes or 1, self.channels or 1).state_dict()
            if {k: v.shape for k, v in own.items() if not k.endswith(OPTIONAL)} == shapes:
                return f" It holds {name} with {self.classes} classes and {self.channels} input channels."
        return ""


def load_checkpoint(model: EfficientViT, path: Path) -> str:
    """Load the weights of ``path`` into ``model`` and return whose names they have, "timm" or "mit".

    Takes .safetensors, and what torch.save wrote (.pt, .pth, .bin): a state dict, alone or under ``state_dict``.
    Weights of MIT also set the attention's epsilon to theirs. Raises UserError with all that is missing, left over or
    has another shape; ``model`` then keeps its weights.
    """
    checkpoint = read_checkpoint(path)
    checkpoint.load_into(model)
    return checkpoint.dialect


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file; raises UserError for one that holds no EfficientViT-B classifier."""
    state, beside = _read_state(path)
    translated, dialect = _translate(state, path)
    size, names = beside.get("image_size"), beside.get("class_names")
    return Checkpoint(
        path,
        translated,
        dialect,
        size if isinstance(size, int) and size > 0 else None,
        _numbers(beside.get("mean")),
        _numbers(beside.get("std")),
        tuple(map(str, names)) if isinstance(names, list) else None,
    )


def _numbers(value: Any) -> tuple[float, ...] | None:
    usable = isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value)
    return tuple(float(v) for v in value) if usable else None


def read_file(path: Path) -> dict[str, Any]:
    """What torch.save wrote, as long as it is tensors, numbers, strings and containers of them; raises UserError."""
    try:
        # weights_only: a pickle that would call anything else is refused
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    except Exception as error:  # for a damaged file torch raises whatever its reader, pickle and others do
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} is no checkpoint of tensors ({reason}). Give a file that torch.save wrote.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state dict. Save model.state_dict().")
    return content


def _read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint by the names that the file gives them, and what else is in it; raises UserError."""
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path), {}
    content = read_file(path)
    tensors = next((content[n] for n in ("state_dict", "model") if isinstance(content.get(n), Mapping)), content)
    wrong = [str(k) for k, v in tensors.items() if not isinstance(k, str) or not isinstance(v, Tensor)]
    if wrong:
        raise UserError(f"{path} holds more than tensors ({', '.join(wrong[:SHOWN])}). Save model.state_dict().")
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}, content


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise UserError(f"{path} needs safetensors. Install it: pip install 'hwgen[quant]'.") from error
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}. Check the path.") from error
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file ({error}). Download it again.") from error
    return tensors


def _translate(state: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], str]:
    """``state`` under the zoo's names, and whose names it had; what has no name here keeps its own."""
    if any(key.startswith("backbone.input_stem.") for key in state):
        return {_from_mit(key): tensor for key, tensor in state.items()}, "mit"
    if any(key.startswith("stem.in_conv.") for key in state):
        return state, "timm"
    first = ", ".join(list(state)[:3]) or "nothing"
    raise UserError(
        f"{path} holds no EfficientViT-B classifier: neither timm's names (stem.in_conv.conv.weight) nor MIT's "
        f"(backbone.input_stem.op_list.0.conv.weight), but {first}. Give a checkpoint of one of them."
    )


def _from_mit(key: str) -> str:
    for pattern, ours in MIT_NAMES:
        if re.match(pattern, key):
            return re.sub(f"^{pattern}", ours, key)
    block = MIT_STEM_BLOCK.match(key)
    return f"stem.res{int(block[1]) - 1}.{key[block.end() :]}" if block else key


def _shape(shape: torch.Size) -> str:
    return " x ".join(map(str, shape)) or "scalar"


def _problems(model: EfficientViT, state: dict[str, Tensor]) -> Iterator[Problem]:
    """What is missing, what is left over, what has another shape."""
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith(OPTIONAL)]
    unexpected = [k for k in state if k not in own]
    reshaped = [k for k in own if k in state and own[k].shape != state[k].shape]
    other = "Is it another model's checkpoint?"
    yield from _listed("missing in the file", missing, [""] * len(missing), other)
    yield from _listed("not in the model", unexpected, [""] * len(unexpected), other)
    shapes = [f": {_shape(state[k].shape)} in the file, {_shape(own[k].shape)} in the model" for k in reshaped]
    yield from _listed("of another shape", reshaped, shapes, "Check the model, its classes and its input channels")


def _listed(kind: str, keys: list[str], details: list[str], hint: str) -> Iterator[Problem]:
    for key, detail in list(zip(keys, details, strict=True))[:SHOWN]:
        yield Problem(key, "", f"{kind}{detail}", hint)
    if len(keys) > SHOWN:
        yield Problem(f"{len(keys) - SHOWN} more tensors", "", kind, hint)
