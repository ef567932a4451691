# SPDX-License-Identifier: Apache-2.0
"""An EfficientViT ONNX file for another image size: the same weights, other shapes.

    python bench/resize_model.py MODEL.onnx SIZE OUT.onnx

For measurements of speed only: scales and zero points stay those of the old size. The shapes that exporters write as
constants are the attention's Reshapes: (.., H * W) and (.., H, W) at 1/16 and 1/32 of the image.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import onnx
from onnx import numpy_helper

STRIDES = (16, 32)
"""Of the stages with attention."""


def resize(model: onnx.ModelProto, size: int) -> None:
    """Change ``model`` to square images of ``size``. Raises ValueError for a model or size that cannot be changed."""
    shape = model.graph.input[0].type.tensor_type.shape.dim
    old = shape[2].dim_value
    if len(shape) != 4 or old != shape[3].dim_value or old % STRIDES[-1] or size < 1 or size % STRIDES[-1]:
        raise ValueError(f"sizes must be square multiples of {STRIDES[-1]}: {old}, {size}")
    planes = {(old // s) ** 2: (size // s) ** 2 for s in STRIDES}
    sides = {old // s: size // s for s in STRIDES}
    constants = {i.name: i for i in model.graph.initializer}
    done = set()
    for node in model.graph.node:
        if node.op_type != "Reshape" or node.input[1] in done:
            continue
        if node.input[1] not in constants:
            raise ValueError(f"{node.name}: its shape is no initializer")
        constant = constants[node.input[1]]
        done.add(constant.name)
        target = numpy_helper.to_array(constant).copy()
        if len(target) == 4 and target[2] == target[3] and int(target[3]) in sides:
            target[2:] = sides[int(target[3])]
        elif len(target) >= 3 and int(target[-1]) in planes:
            target[-1] = planes[int(target[-1])]
        elif int(target[-1]) > 1:
            raise ValueError(f"{node.name}: cannot tell what {target.tolist()} is of an image of {old}")
        constant.CopyFrom(numpy_helper.from_array(target, constant.name))
    for dim in shape[2:]:
        dim.dim_value = size
    del model.graph.value_info[:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("size", type=int)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    model = onnx.load(arguments.model)
    try:
        resize(model, arguments.size)
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(model, strict_mode=True))
    except (ValueError, onnx.shape_inference.InferenceError) as error:
        sys.exit(f"{arguments.model}: {error}")
    onnx.save(model, arguments.out)


if __name__ == "__main__":
    main()
