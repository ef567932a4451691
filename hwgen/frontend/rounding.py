# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear behind a real operator: here integer operators are emitted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hwgen import numerics as nx
from hwgen.frontend import attention
from hwgen.frontend.context import Lowering
from hwgen.frontend.values import (
    IDENTITY,
    QUANTIZE_BOTH,
    Codes,
    Function,
    Real,
    Root,
    Unsupported,
    is_identity,
)
from hwgen.frontend.weighted import Weighted
from hwgen.ir import AddSpec, Conv, Eltwise, Input, LayerNorm, Linear, Pool, Quant, Requant
from hwgen.kernels.mlp import NORM_FRACTION


def _clamp_table(function: Function, quant: Quant) -> npt.NDArray[np.int8] | None:
    """A clamp in front of a quantizer is a clamp of its codes."""
    if function.identity:
        return None
    assert function.clamp is not None
    low, high = nx.quantize(np.array(function.clamp, np.float32), quant.scale, quant.zero_point)
    table = np.clip(nx.ALL_CODES, low, high)
    return None if is_identity(table) else table


def round_result(low: Lowering, value: Real, quant: Quant, name: str) -> Codes:
    """QuantizeLinear of an operator's exact result: emit the operator."""
    root, function = value.root, value.functions[0]
    if root.kind == "div":
        return Codes(name, _attention(low, value, quant, name), quant)
    if root.kind == "matmul":
        if math.prod(value.shape) != math.prod(root.shape) or not function.identity:
            raise Unsupported("changes a product of two activations before it is quantized", attention.HINT)
        virtual = Root(name, "matmul", root.shape, quant, None, root.record)
        return Codes(name, Real((virtual,), (IDENTITY,), value.shape, value.index, quant=quant), quant)
    if value.index is not None:
        raise Unsupported("is rearranged before it is quantized", "Quantize the operator's output directly")
    out: Root
    if root.kind == "input":
        if not function.identity:
            raise Unsupported("works on the float input before it is quantized", "Quantize the input first")
        if any(isinstance(op, Input) for op in low.ops):
            raise Unsupported("quantizes the model's input a second time, differently", "Quantize the input once")
        shape = (root.shape[1], root.shape[2], root.shape[3])
        out = low.tensor(name, shape, quant, name)
        low.ops.insert(0, Input(name, out.name, shape))
    elif root.kind in ("conv", "linear"):
        out = _round_weighted(low, root, function, quant, name)
    elif function.clamp is None:
        raise Unsupported("is followed by a float activation without a quantizer in between", QUANTIZE_BOTH)
    elif root.kind == "add":
        a, b = root.record
        ma, mb, constant, shift = nx.add_constants(
            a.quant.scale, a.quant.zero_point, b.quant.scale, b.quant.zero_point, quant.scale
        )
        out = low.tensor(name, a.shape, quant, name)
        spec = AddSpec(ma, mb, constant, shift, quant.zero_point)
        low.emit(Eltwise(root.name, a.name, out.name, _clamp_table(function, quant), b.name, spec))
    elif root.kind == "pool":
        x = root.record
        ratio = x.quant.scale * (1.0 / quant.scale) / (x.shape[1] * x.shape[2])
        multiplier, shift = nx.quantize_multiplier(ratio)
        if _clamp_table(function, quant) is not None:
            raise Unsupported("is followed by a clamp", "Quantize between them")
        out = low.tensor(name, (x.shape[0], 1, 1), quant, name)
        low.emit(Pool(root.name, x.name, out.name, multiplier, shift, quant.zero_point))
    else:
        out = _round_layer_norm(low, root, function, quant, name)
    return Codes(name, Real((out,), (IDENTITY,), value.shape, quant=quant), quant)


def _round_weighted(low: Lowering, root: Root, function: Function, quant: Quant, name: str) -> Root:
    record: Weighted = root.record
    unit = record.x.quant.scale * record.weight_scale
    outputs = len(record.weight)
    if function.clamp is not None:
        multiplier, shift = nx.quantize_multipliers(unit / quant.scale)
        requant = Requant(multiplier, shift, quant.zero_point)
        table = _clamp_table(function, quant)
    else:
        flat = record.weight.reshape(outputs, -1).astype(np.int64)
        x_zero = record.x.quant.zero_point
        positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
        top = (record.bias + positive * (127 - x_zero) + negative * (-128 - x_zero)) * unit
        bottom = (record.bias + positive * (-128 - x_zero) + negative * (127 - x_zero)) * unit
        step, zero = nx.intermediate_range(
            function.call, quant.scale, quant.zero_point, float(bottom.min()), float(top.max())
        )
        multiplier, shift = nx.quantize_multipliers(unit / step)
        requant = Requant(multiplier, shift, zero, bits=nx.MID_BITS)
        levels = ((nx.ALL_MID.astype(np.float64) - zero) * step).astype(np.float32)
        table = nx.quantize(function.call(levels), quant.scale, quant.zero_point)
        if not -(1 << 15) <= zero < 1 << 15 or np.abs(np.diff(table.astype(np.int32))).max() > 1:
            raise Unsupported("is a float activation too steep for 12 bits in front of it", QUANTIZE_BOTH)
    x, out = record.x, low.tensor(name, record.shape, quant, name)
    if root.kind == "linear":
        low.emit(Linear(root.name, x.name, out.name, record.weight, record.bias, requant, table))
        return out
    low.emit(
        Conv(
            root.name,
            x.name,
            out.name,
            record.weight,
            record.bias,
            requant,
            record.stride,
            record.pads,
            record.groups,
            table,
        )
    )
    return out


def _round_layer_norm(low: Lowering, root: Root, function: Function, quant: Quant, name: str) -> Root:
    x, gamma, beta, epsilon = root.record
    count = x.shape[0]
    gain, offset = gamma / quant.scale, beta / quant.scale
    _, shift = nx.quantize_multiplier(max(float(np.abs(gain).max()), 2.0**-20))
    multiplier = np.rint(np.ldexp(gain, shift))
    constant = np.rint(np.ldexp(offset, shift + NORM_FRACTION))
    if np.abs(constant).max(initial=0) >= 2**45:
        raise Unsupported("its bias is too large for its scale", "Quantize again")
    variance = max(round(epsilon * count * count / x.quant.scale**2), 1)
    if variance >= 2**45:
        raise Unsupported("its epsilon outweighs every variance", "Check the input's scale")
    out = low.tensor(name, x.shape, quant, name)
    low.emit(
        LayerNorm(
            root.name,
            x.name,
            out.name,
            multiplier.astype(np.int32),
            constant.astype(np.int64),
            shift + NORM_FRACTION,
            variance,
            quant.zero_point,
            _clamp_table(function, quant),
        )
    )
    return out


def _attention(low: Lowering, value: Real, quant: Quant, name: str) -> Real:
    """QuantizeLinear of a quotient: it must be a linear attention."""
    op, shape = attention.match(value, quant)
    out = low.tensor(name, shape, quant, name)
    low.emit(replace(op, y=out.name))
    return Real((out,), (IDENTITY,), value.shape, quant=quant)
