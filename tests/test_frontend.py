# SPDX-License-Identifier: Apache-2.0
"""The frontend on hand-written QDQ models in many variants, checked against ONNX Runtime operator by operator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from hwgen import frontend, passes
from hwgen import numerics as nx
from hwgen.backends.reference import direct, ort
from hwgen.errors import FitError, ModelError, UserError
from hwgen.frontend import onnx_file
from hwgen.ir import Attention, Conv, Eltwise
from qdq_models import Model, save, small_vit

pytest.importorskip("onnxruntime")


def load(model: onnx.ModelProto, folder: Path) -> frontend.Frontend:
    return frontend.load(save(model, folder / "model.onnx"))


@pytest.mark.parametrize("form", ["fused", "every", "act"])
@pytest.mark.parametrize("variant", range(6))
def test_small_vit_is_mapped_and_equals_onnxruntime(tmp_path: Path, form: str, variant: int) -> None:
    """Every node mapped; each operator within its promise; layout variants and uint8 included."""
    unsigned = variant % 2 == 1
    front = load(small_vit(variant, form, variant, unsigned, side=12 + variant), tmp_path)
    assert front.problems == ()
    graph = passes.run(front.require())
    coverage = front.coverage(graph)
    assert coverage.mapped == coverage.nodes == len(onnx.load(tmp_path / "model.onnx").graph.node)
    assert coverage.kernels == {"conv": 9 - variant % 2, "linear_attention": 1, "mlp": 4}
    x = np.random.default_rng(variant).standard_normal((3, *graph.input.image)).astype(np.float32)
    result = ort.compare(front.require(), graph, front.onnx, x)
    few = {n: t for n, t in result.ops.items() if t.max_step > 1 or t.share < t.promised - 0.002}
    assert not few, "operators differ from ONNX Runtime"


def test_comparison_detects_a_wrong_constant(tmp_path: Path) -> None:
    """The checker fails where one multiplier is off by a few percent."""
    front = load(small_vit(0), tmp_path)
    graph = front.require()
    conv = next(o for o in graph.ops if isinstance(o, Conv))
    conv.requant.multiplier[:] = conv.requant.multiplier * 97 // 100
    x = np.random.default_rng(0).standard_normal((1, *graph.input.image)).astype(np.float32)
    result = ort.compare(graph, passes.run(graph), front.onnx, x)
    assert conv.name in result.failing


@pytest.mark.parametrize("seed", range(4))
def test_passes_keep_every_tensor(tmp_path: Path, seed: int) -> None:
    lowered = load(small_vit(seed, "every"), tmp_path).require()
    kernels = passes.run(lowered)
    rescaled = 0 if seed % 2 else 1  # the Concat's other scale needs a table behind a tensor that is read twice
    assert sum(isinstance(o, Eltwise) for o in kernels.ops) == rescaled, "everything else pointwise is fused"
    assert kernels.input.block == 2
    image = np.random.default_rng(seed).integers(-128, 128, lowered.input.image).astype(np.int8)
    before, after = direct.run(lowered, image), direct.run(kernels, image)
    for name in set(after) - {kernels.input.y}:
        assert np.array_equal(before[name], after[name]), name


def test_attention_is_found_in_all_orders(tmp_path: Path) -> None:
    found = []
    for variant in range(6):
        graph = load(small_vit(0, "fused", variant), tmp_path).require()
        op = next(o for o in graph.ops if isinstance(o, Attention))
        found.append((op.q_offset, op.k_offset, op.v_offset))
    assert set(found) == {(0, 16, 32), (16, 0, 32), (32, 16, 0)}


def tiny(build: Callable[[Model, str], str], shape: tuple[int, ...] = (1, 3, 8, 8), **kw: object) -> onnx.ModelProto:
    m = Model(np.random.default_rng(0), **kw)  # type: ignore[arg-type]
    return m.finish(build(m, m.quantize("image", 0.02, 3)), shape)


def two_quantizers(m: Model, x: str) -> str:
    """One convolution's float output quantized in two ways; both are the operands of residual adds."""
    y = m.conv(x, 3, 8)
    a, b = m.quantize(y, 0.03, 0), m.quantize(y, 0.05, 3)
    return m.quantize(m.node("Add", m.quantize(m.node("Add", b, m.quantize(m.conv(a, 8, 8)))), a))


def own_quantizers(m: Model, x: str) -> str:
    """A pair of Q and DQ for each reader of an edge, of the model's input, too."""
    y = m.conv(m.quantize("image", 0.02, 3), 3, 8)
    gate = m.quantize(m.node("HardSigmoid", m.quantize(y, 0.05, 0), alpha=1 / 6, beta=0.5), 1 / 255, -128)
    y = m.quantize(m.node("Mul", m.quantize(y, 0.05, 0), gate))
    return m.quantize(m.node("Add", y, m.quantize(m.conv(x, 3, 8))))


def int8_by_attribute(m: Model, x: str, kw: Any = {"output_dtype": onnx.TensorProto.INT8}) -> str:  # noqa: B006
    """No zero point: opset 21 names the type in an attribute, without it the codes are uint8."""
    scale = m.const(np.float32(0.03))
    return m.node("DequantizeLinear", m.node("QuantizeLinear", m.conv(x, 3, 8), scale, **kw), scale)


def flattened_concat(m: Model, x: str) -> str:
    """Two scales in one Concat that is flattened before it is quantized."""
    both = m.node("Concat", m.quantize(m.conv(x, 3, 48)), m.quantize(m.conv(x, 3, 48)), axis=1)
    return m.quantize(m.attention(m.quantize(m.node("Flatten", both)), 2, 16, 8, "every"))


def zero_point_left_out(m: Model, x: str) -> str:
    """The DequantizeLinear of int8 codes may leave a zero point of 0 out."""
    scale = m.const(np.float32(0.03))
    codes = m.node("QuantizeLinear", m.conv(x, 3, 8), scale, m.const(np.int8(0)))
    return m.node("DequantizeLinear", codes, scale)


CONVS = {
    "grouped3": lambda m, x: m.quantize(m.conv(m.quantize(m.conv(x, 3, 24)), 24, 24, 3, groups=3)),
    "multiplier": lambda m, x: m.quantize(m.conv(x, 3, 6, 3, groups=3)),
    "asymmetric": lambda m, x: m.quantize(m.conv(x, 3, 5, 5, 2, pads=[0, 3, 4, 1])),
    "wide7": lambda m, x: m.quantize(m.conv(x, 3, 4, 7)),
    "pw_stride": lambda m, x: m.quantize(m.conv(x, 3, 20, 1, 2, pads=[0] * 4)),
    "per_tensor": lambda m, x: m.quantize(m.conv(x, 3, 20, 3, per_tensor=True)),
    "relu": lambda m, x: m.quantize(m.node("Relu", m.quantize(m.conv(x, 3, 8)))),
    "folded_relu": lambda m, x: m.quantize(m.node("Relu", m.conv(x, 3, 8))),
    "clip": lambda m, x: m.quantize(m.node("Clip", m.conv(x, 3, 8), m.const(np.float32(0)), m.const(np.float32(1.5)))),
    "sigmoid": lambda m, x: m.quantize(m.node("Sigmoid", m.conv(x, 3, 8)), 1 / 255, -128),
    "flatten_fc": lambda m, x: m.quantize(
        m.node("MatMul", m.node("Flatten", m.quantize(m.conv(x, 3, 8, 3, 2)), axis=1), m.weight((128, 9), 1)[0])
    ),
    "bias_add": lambda m, x: m.quantize(
        m.node("Add", m.conv(x, 3, 8, bias=False), m.const(np.linspace(-1, 1, 8, dtype=np.float32).reshape(8, 1, 1)))
    ),
    "two_quantizers": two_quantizers,
    "own_quantizers": own_quantizers,
    "int8_by_attribute": int8_by_attribute,
    "default_zero_point": lambda m, x: int8_by_attribute(m, x, {}),
    "flattened_concat": flattened_concat,
    "zero_point_left_out": zero_point_left_out,
    "matmul_of_4_dimensions": lambda m, x: m.quantize(
        m.node(
            "MatMul",
            m.node("Reshape", m.quantize(m.conv(x, 3, 8, 3, 2)), m.const(np.array([1, 1, 1, 128]))),
            m.weight((128, 9), 1)[0],
        )
    ),
    "dead_code": lambda m, x: (m.node("Relu", x), m.quantize(m.conv(x, 3, 8)))[1],
}  # fmt: skip


@pytest.mark.parametrize("name", CONVS)
def test_operators_equal_onnxruntime(tmp_path: Path, name: str) -> None:
    front = load(tiny(CONVS[name], opset=21), tmp_path)
    graph = passes.run(front.require())
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    result = ort.compare(front.require(), graph, front.onnx, x)
    assert all(t.max_step <= 1 and t.share > (0.97 if t.promised < 0.99 else 0.995) for t in result.ops.values())


def attention_by(change: Callable[[Model, str], None], form: str = "every") -> Callable[[Model, str], str]:
    """An attention with one node changed after the fact."""

    def build(m: Model, x: str) -> str:
        qkv = m.quantize(m.conv(x, 3, 96))
        y = m.attention(qkv, 2, 16, 8, form)
        change(m, qkv)
        return m.quantize(y)

    return build


def pad_with_axes(m: Model, qkv: str) -> None:
    pad = next(n for n in m.nodes if n.op_type == "Pad")
    pad.input[1] = m.const(np.array([0, 1]))
    pad.input.append(m.const(np.array([-1])))


def twice_the_padded(m: Model, qkv: str) -> None:
    """V and its column of ones, both doubled behind the Pad."""
    at = next(i for i, n in enumerate(m.nodes) if n.op_type == "Pad")
    out = m.nodes[at].output[0]
    m.nodes[at].output[0] = "padded"
    m.nodes.insert(at + 1, onnx.helper.make_node("Add", ["padded", "padded"], [out], name="twice"))


def shapes_at_run_time(m: Model, qkv: str) -> None:
    """Reshape targets computed from Shape, as exporters write them for a dynamic batch."""
    for reshape in [n for n in m.nodes if n.op_type == "Reshape"]:
        at, count = m.nodes.index(reshape), len(m.nodes)
        target = next(onnx.numpy_helper.to_array(i) for i in m.initializers if i.name == reshape.input[1])
        batch = m.node("Gather", m.node("Shape", qkv), m.const(np.array([0])), axis=0)
        reshape.input[1] = m.node("Concat", batch, m.const(target[1:]), axis=0)
        new = m.nodes[count:]
        del m.nodes[count:]
        m.nodes[at:at] = new


@pytest.mark.parametrize("change", [pad_with_axes, twice_the_padded, shapes_at_run_time])
def test_attention_variants_equal_onnxruntime(tmp_path: Path, change: Callable[[Model, str], None]) -> None:
    m = Model(np.random.default_rng(0), opset=18)
    model = m.finish(attention_by(change)(m, m.quantize("image", 0.02, 3)), (1, 3, 8, 8), batch="N")
    front = load(model, tmp_path)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    result = ort.compare(front.require(), passes.run(front.require()), front.onnx, x)
    assert all(t.max_step <= 1 and t.share > 0.995 for t in result.ops.values())


def test_comparison_with_a_model_that_onnxruntime_does_not_run(tmp_path: Path) -> None:
    """hwgen reads bounds of any shape, ONNX Runtime finds out at run time that they are no vector."""

    def matrix_bounds(m: Model, qkv: str) -> None:
        next(n for n in m.nodes if n.op_type == "Slice").input[1] = m.const(np.zeros((1, 1), np.int64))

    front = load(tiny(attention_by(matrix_bounds)), tmp_path)
    with pytest.raises(UserError, match="ONNX Runtime does not run"):
        ort.compare(front.require(), passes.run(front.require()), front.onnx, np.zeros((1, 3, 8, 8), np.float32))


def test_fusedact_goes_through_4096_entries(tmp_path: Path) -> None:
    graph = passes.run(load(small_vit(0, "act"), tmp_path).require())
    stem = next(o for o in graph.ops if isinstance(o, Conv))
    assert stem.requant.bits == 12 and stem.table is not None and len(stem.table) == 4096


def test_dynamic_batch_becomes_one(tmp_path: Path) -> None:
    m = Model(np.random.default_rng(0))
    model = m.finish(m.quantize(m.conv(m.quantize("image"), 3, 8, 3)), (1, 3, 8, 8), batch="N")
    graph = load(model, tmp_path).require()
    assert graph.input.image == (3, 8, 8)


@pytest.mark.parametrize("opset", [13, 15, 18, 21])
def test_opsets(tmp_path: Path, opset: int) -> None:
    model = tiny(CONVS["grouped3"], opset=opset)
    assert load(model, tmp_path).problems == ()


def test_uint8_images_by_table(tmp_path: Path) -> None:
    """The loader's tables equal float normalization and the model's own quantizer."""
    lowered = load(small_vit(1), tmp_path).require()
    mean, std = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    graph = passes.run(lowered, mean, std)
    pixels = np.random.default_rng(0).integers(0, 256, lowered.input.image).astype(np.uint8)
    real = (pixels / np.float32(255) - np.float32(mean).reshape(3, 1, 1)) / np.float32(std).reshape(3, 1, 1)
    quant = lowered.input_quant
    codes = nx.quantize(real, quant.scale, quant.zero_point)
    assert np.array_equal(direct.run(graph, pixels)[graph.output], direct.run(lowered, codes)[lowered.output])


# ---------------------------------------------------------------------------------------- what is not mapped


def problems(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        load(model, folder).require()
    return str(error.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    def build(m: Model, x: str) -> str:
        a = m.quantize(m.node("Softmax", m.conv(x, 3, 8), axis=1))
        b = m.quantize(m.node("MaxPool", m.quantize(m.conv(x, 3, 8)), kernel_shape=[1, 1]))
        return m.quantize(m.node("Add", a, b))

    text = problems(tiny(build), tmp_path)
    assert "2 problems" in text and "Softmax" in text and "MaxPool" in text and "linear attention" in text


def test_float_model(tmp_path: Path) -> None:
    m = Model(np.random.default_rng(0))
    w = m.const(np.ones((4, 3, 1, 1), np.float32))
    assert "is not quantized" in problems(m.finish(m.node("Conv", "image", w), (1, 3, 8, 8)), tmp_path)


def test_zero_point_on_weights(tmp_path: Path) -> None:
    def build(m: Model, x: str) -> str:
        w = m.const(np.ones((4, 3, 1, 1), np.int8))
        dq = m.node("DequantizeLinear", w, m.const(np.float32(0.1)), m.const(np.int8(3)))
        return m.quantize(m.node("Conv", x, dq))

    assert "zero point other than 0" in problems(tiny(build), tmp_path)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_scale(tmp_path: Path, scale: float) -> None:
    text = problems(tiny(lambda m, x: m.quantize(m.conv(x, 3, 4), scale)), tmp_path)
    assert "scale" in text and "positive and finite" in text


def test_accumulator_that_may_overflow(tmp_path: Path) -> None:
    def build(m: Model, x: str) -> str:
        y = m.quantize(m.conv(x, 3, 4000))
        w = m.const(np.full((4, 4000, 3, 3), 127, np.int8))
        dq = m.node("DequantizeLinear", w, m.const(np.float32(0.1)), m.const(np.int8(0)))
        return m.quantize(m.node("Conv", y, dq, pads=[1] * 4))

    assert "accumulator may reach" in problems(tiny(build), tmp_path)


def test_attention_with_a_foreign_normalizer(tmp_path: Path) -> None:
    """A division that is almost an attention must not be taken for one."""

    def build(m: Model, x: str) -> str:
        qkv = m.quantize(m.conv(x, 3, 96))
        y = m.attention(qkv, 2, 16, 8)
        add = next(n for n in m.nodes if n.op_type == "Add")
        add.input[0] = m.node("Mul", add.input[0], m.const(np.float32(2)))
        m.nodes.insert(m.nodes.index(add), m.nodes.pop())
        return m.quantize(y)

    assert "normalizer is changed" in problems(tiny(build), tmp_path)


def test_head_of_eight_channels(tmp_path: Path) -> None:
    model = tiny(lambda m, x: m.quantize(m.attention(m.quantize(m.conv(x, 3, 48)), 2, 8, 8)))
    assert "16 or 32 channels" in problems(model, tmp_path)


@pytest.mark.parametrize("variant", range(4))
def test_attention_behind_split(tmp_path: Path, variant: int) -> None:
    """Newer exporters write Split where older ones write three Slices."""

    def build(m: Model, x: str) -> str:
        return m.quantize(m.attention(m.quantize(m.conv(x, 3, 96)), 2, 16, 8, "fused", variant, split=True))

    model = tiny(build)
    front = load(model, tmp_path)
    coverage = front.coverage(passes.run(front.require()))
    assert coverage.nodes == coverage.mapped == len(model.graph.node)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    result = ort.compare(front.require(), passes.run(front.require()), front.onnx, x)
    assert all(t.max_step <= 1 and t.share > 0.995 for t in result.ops.values())


@pytest.mark.parametrize("dim", [16, 32])
@pytest.mark.parametrize("form", ["fused", "every"])
def test_head_sizes(tmp_path: Path, dim: int, form: str) -> None:
    model = tiny(lambda m, x: m.quantize(m.attention(m.quantize(m.conv(x, 3, 6 * dim)), 2, dim, 8, form, 1)))
    front = load(model, tmp_path)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    result = ort.compare(front.require(), passes.run(front.require()), front.onnx, x)
    assert all(t.max_step <= 1 and t.share > 0.995 for t in result.ops.values())


def pooled(m: Model, x: str) -> str:
    return m.quantize(m.node("GlobalAveragePool", m.quantize(m.conv(x, 3, 8))))


def bias_along_width(m: Model, x: str) -> str:
    """8 channels, 8 columns: a vector of 8 broadcasts along the columns, it is no bias."""
    return m.quantize(m.node("Add", m.conv(x, 3, 8), m.const(np.linspace(-1, 1, 8, dtype=np.float32))))


def outer_sum(m: Model, x: str) -> str:
    column = m.node("Reshape", pooled(m, x), m.const(np.array([8, 1])))
    return m.quantize(m.node("Add", m.node("Flatten", pooled(m, x)), column))


def norm_of_one_number(m: Model, x: str) -> str:
    return m.quantize(m.node("LayerNormalization", pooled(m, x), m.const(np.ones(1, np.float32)), axis=-1))


def conv_of_reshaped(m: Model, x: str) -> str:
    reshaped = m.node("Reshape", x, m.const(np.array([1, 3, 4, 16])))
    return m.quantize(m.conv(reshaped, 3, 8, bias=False))


def another_input_scale(m: Model, x: str) -> str:
    y = m.quantize(m.conv(m.quantize("image", 0.03, 1), 3, 8))
    return m.quantize(m.node("Add", y, m.quantize(m.conv(x, 3, 8))))


def wrong_kernel_shape(m: Model, x: str) -> str:
    y = m.conv(x, 3, 8, 3)
    m.nodes[-1].attribute.append(onnx.helper.make_attribute("auto_pad", "NOTSET"))
    next(a for a in m.nodes[-1].attribute if a.name == "kernel_shape").ints[:] = [5, 5]
    return m.quantize(y)


def reciprocal(m: Model, x: str) -> str:
    return m.quantize(m.node("Div", m.const(np.float32(1)), m.conv(x, 3, 8)), 0.01, 0)


def long_chain(m: Model, x: str) -> str:
    for _ in range(1500):
        x = m.node("Relu", x)
    return m.quantize(x)


def doubling_chain(m: Model, x: str) -> str:
    for _ in range(60):
        x = m.node("Mul", x, m.node("Sigmoid", x))
    return m.quantize(x)


def doubling_concat(m: Model, x: str) -> str:
    for _ in range(20):
        x = m.node("Concat", x, x, axis=1)
    return m.quantize(x)


def second_output(m: Model, x: str) -> str:
    m.quantize(m.node("LayerNormalization", m.node("Flatten", pooled(m, x)), m.const(np.ones(8, np.float32))))
    norm = next(n for n in m.nodes if n.op_type == "LayerNormalization")
    norm.output.append("mean")
    return m.quantize("mean")


def maximum_with_epsilon(m: Model, qkv: str) -> None:
    """max(d, epsilon) is not d + epsilon: they differ where d is small."""
    add = next(n for n in m.nodes if n.op_type == "Add")
    add.op_type, add.input[1] = "Max", m.const(np.float32(1e-6))


def some_heads(m: Model, x: str) -> str:
    y = m.attention(m.quantize(m.conv(x, 3, 192)), 4, 16, 8)
    bounds = [m.const(np.array([v])) for v in (0, 32, 1)]
    return m.quantize(m.node("Slice", y, *bounds))


REFUSED = [
    (bias_along_width, "constant array"),
    (outer_sum, "Broadcast additions"),
    (norm_of_one_number, "other than one vector"),
    (conv_of_reshaped, "reshaped to"),
    (another_input_scale, "a second time"),
    (wrong_kernel_shape, "kernel_shape"),
    (reciprocal, "too steep"),
    (long_chain, "pointwise steps"),
    (doubling_chain, "pointwise steps"),
    (doubling_concat, "concatenates more than"),
    (second_output, "second output"),
    (attention_by(maximum_with_epsilon, "fused"), "normalizer is changed"),
    (some_heads, "leaves heads out"),
    (lambda m, x: m.quantize(m.node("Clip", x, m.const(np.float32("nan")))), "NaN"),
    (lambda m, x: m.quantize(m.conv(x, 3, 8), 1e-30, 0), "too far apart"),
    (lambda m, x: m.quantize(m.conv(x, 3, 8), np.full((1, 1), 0.1)), "dimensions"),
]


@pytest.mark.parametrize(("build", "reason"), REFUSED)
def test_models_that_would_be_computed_wrongly(tmp_path: Path, build: Callable[[Model, str], str], reason: str) -> None:
    assert reason in problems(tiny(build), tmp_path)


def test_groups_that_fit_no_engine(tmp_path: Path) -> None:
    """A prime number of depthwise 7x7 channels would become a dense convolution of 800 MB."""
    model = tiny(lambda m, x: m.quantize(m.conv(m.quantize(m.conv(x, 3, 4001)), 4001, 4001, 7, groups=4001)))
    with pytest.raises(FitError, match="divisible by 16"):
        passes.run(load(model, tmp_path).require())


def test_input_that_is_not_float32(tmp_path: Path) -> None:
    model = tiny(CONVS["multiplier"])
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT32
    with pytest.raises(ModelError, match="not float32"):
        load(model, tmp_path)


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_files_that_are_no_models(tmp_path: Path) -> None:
    data = small_vit(0).SerializeToString()
    cases = [
        _file(tmp_path / "truncated.onnx", data[: len(data) // 2]),
        _file(tmp_path / "empty.onnx", b""),
        _file(tmp_path / "text.onnx", b"hello, this is not a protobuf at all\n" * 20),
        tmp_path / "missing.onnx",
        tmp_path,
    ]
    for path in cases:
        with pytest.raises(ModelError):
            frontend.load(path)


def test_opset_9(tmp_path: Path) -> None:
    model = small_vit(0)
    model.opset_import[0].version = 9
    with pytest.raises(ModelError, match="opset 9"):
        load(model, tmp_path)


def test_dynamic_height(tmp_path: Path) -> None:
    model = small_vit(0)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(ModelError, match="dimension 2 is dynamic"):
        load(model, tmp_path)


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/passwd", "missing.bin", "link.bin"])
def test_external_data(tmp_path: Path, location: str) -> None:
    """Data beside the model is read; data elsewhere, behind a link, or missing is refused."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(b"\0" * 4096)
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    model = small_vit(0)
    onnx.save_model(model, str(folder / "m.onnx"), save_as_external_data=True, location="m.bin", size_threshold=16)
    assert frontend.load(folder / "m.onnx").problems == ()
    proto = onnx.load(str(folder / "m.onnx"), load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="external data"):
        frontend.load(folder / "m.onnx")


def test_mutated_models_never_crash(tmp_path: Path) -> None:
    """Random bytes in a model: either it still loads, or there is one clear error."""
    data = bytearray(small_vit(3, "every").SerializeToString())
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(150):
        mutant = bytearray(data)
        for position in rng.integers(0, len(data), int(rng.integers(1, 12))):
            mutant[position] = int(rng.integers(0, 256))
        if rng.random() < 0.2:
            start = int(rng.integers(0, len(data)))
            del mutant[start : start + int(rng.integers(1, 200))]
        try:
            passes.run(frontend.load(_file(tmp_path / "mutant.onnx", bytes(mutant))).require())
        except ModelError:
            refused += 1
    assert refused > 20, "the mutations do not reach the checks"


def computed_pad(count: int) -> onnx.ModelProto:
    """An image padded by amounts that nodes compute, as PyTorch's exporter writes them; ``count`` zeros among them."""
    nodes = [
        onnx.helper.make_node("Constant", [], ["count"], name="count", value_ints=[count]),
        onnx.helper.make_node("ConstantOfShape", ["count"], ["zeros"], name="zeros"),
        onnx.helper.make_node("Cast", ["zeros"], ["integers"], name="integers", to=onnx.TensorProto.INT64),
        onnx.helper.make_node("Constant", [], ["one"], name="one", value_ints=[1]),
        onnx.helper.make_node("Concat", ["integers", "one"], ["amounts"], name="amounts", axis=0),
        onnx.helper.make_node("Pad", ["image", "amounts"], ["y"], name="pad"),
    ]
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None] * 4)
    graph = onnx.helper.make_graph(nodes, "net", [image], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_computed_amounts_of_a_pad(tmp_path: Path) -> None:
    read = onnx_file.read(save(computed_pad(7), tmp_path / "m.onnx"))
    assert [n.op for n in read.nodes] == ["Pad"]
    assert read.constants[read.nodes[0].inputs[1]].tolist() == [0] * 7 + [1]


@pytest.mark.parametrize("count", [onnx_file.FILLED_MAX + 1, -1])
def test_nothing_large_is_filled_while_reading(tmp_path: Path, count: int) -> None:
    read = onnx_file.read(save(computed_pad(count), tmp_path / "m.onnx"))
    assert "ConstantOfShape" in {n.op for n in read.nodes}
    assert all(a.size <= onnx_file.FILLED_MAX for a in read.constants.values())


@pytest.mark.parametrize("way", ["constant", "computed", "chained", "subgraph"])
def test_a_model_cannot_make_reading_take_all_memory(tmp_path: Path, way: str) -> None:
    """onnx's shape inference alone would hold 2**40 values."""
    model = computed_pad(1 << 40)
    nodes = model.graph.node
    if way == "computed":
        nodes[0].attribute[0].ints[0] = 1 << 20
        nodes.insert(1, onnx.helper.make_node("Mul", ["count", "count"], ["square"], name="square"))
        nodes[2].input[0] = "square"
    elif way == "chained":  # the size of one is made with another one
        nodes[0].attribute[0].ints[0] = 1
        ones = onnx.numpy_helper.from_array(np.array([1 << 40]))
        nodes.insert(1, onnx.helper.make_node("ConstantOfShape", ["count"], ["large"], name="first", value=ones))
        nodes[2].input[0] = "large"
    elif way == "subgraph":
        inner = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["amounts"], ["inside"])],
            "inner",
            [],
            [onnx.helper.make_tensor_value_info("inside", onnx.TensorProto.INT64, [None])],
        )
        inner.node.insert(0, onnx.helper.make_node("ConstantOfShape", ["count"], ["lost"], name="lost"))
        true = onnx.helper.make_node("Constant", [], ["true"], value=onnx.numpy_helper.from_array(np.array(True)))
        nodes[0].attribute[0].ints[0] = 7
        nodes.insert(5, true)
        nodes.insert(
            6, onnx.helper.make_node("If", ["true"], ["other"], name="if", then_branch=inner, else_branch=inner)
        )
        nodes[7].input[1] = "other"
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as refused:
        onnx_file.read(save(model, tmp_path / "m.onnx"))
    assert [p.name for p in refused.value.problems] == (["if"] if way == "subgraph" else ["zeros"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


@pytest.mark.parametrize("name", ["b1_224_ort_s8_fused", "b1_224_ort_s8", "b1_224_ort_s8_fusedact", "b0_224_ort_s8"])
def test_real_models_are_mapped(shared_model: Callable[[str], Path], name: str) -> None:
    front = frontend.load(shared_model(f"efficientvit_{name}.onnx"))
    coverage = front.coverage(passes.run(front.require()))
    assert coverage.mapped == coverage.nodes and not coverage.unsupported
    macs, heads = (519_214_592, 7) if "b1" in name else (100_233_216, 4)
    assert coverage.macs == macs and coverage.kernels["linear_attention"] == heads
