# SPDX-License-Identifier: Apache-2.0
"""Each pass keeps every result; the verifier finds what a wrong pass would break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hwgen import numerics as nx
from hwgen import passes
from hwgen.backends.reference import direct
from hwgen.errors import InternalError, UserError
from hwgen.ir import AddSpec, Conv, Eltwise, Graph, Input, Op, Quant, Requant, Tensor
from hwgen.kernels.conv import output_size
from hwgen.passes.align import align_groups
from hwgen.passes.fuse import fuse_residuals
from hwgen.passes.image import fold_space_to_depth
from hwgen.passes.verify import verify


class Net:
    """Graphs by hand: an input and operators behind it."""

    def __init__(self, seed: int, image: tuple[int, int, int]) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors = {"image": Tensor("image", image, self.quant(), "image")}
        self.ops: list[Op] = [Input("image", "image", image)]

    def quant(self) -> Quant:
        return Quant(float(self.rng.uniform(0.01, 0.1)), int(self.rng.integers(-100, 100)))

    def conv(self, x: str, out: int, kernel: tuple[int, int], name: str, **kw: object) -> str:
        groups = int(kw.get("groups", 1))  # type: ignore[call-overload]
        source = self.tensors[x]
        weight = self.rng.integers(-127, 128, (out, source.shape[0] // groups, *kernel)).astype(np.int8)
        requant = Requant(*nx.quantize_multipliers(self.rng.uniform(2e-4, 2e-3, out)), 3)
        op = Conv(name, x, name, weight, self.rng.integers(-999, 999, out), requant, **kw)  # type: ignore[arg-type]
        rows = output_size(source.shape[1], kernel[0], op.stride[0], op.pads[0], op.pads[2])
        cols = output_size(source.shape[2], kernel[1], op.stride[1], op.pads[1], op.pads[3])
        self.tensors[name] = Tensor(name, (out, rows, cols), self.quant(), name)
        self.ops.append(op)
        return name

    def add(self, a: str, b: str, name: str) -> str:
        ta, tb, ty = self.tensors[a], self.tensors[b], Tensor(name, self.tensors[a].shape, self.quant(), name)
        self.tensors[name] = ty
        constants = nx.add_constants(
            ta.quant.scale, ta.quant.zero_point, tb.quant.scale, tb.quant.zero_point, ty.quant.scale
        )
        self.ops.append(Eltwise(name, a, name, None, b, AddSpec(*constants, ty.quant.zero_point)))
        return name

    def graph(self, output: str) -> Graph:
        result = Graph("net", self.tensors, tuple(self.ops), output, self.tensors["image"].quant)
        verify(result)
        return result


def equal(before: Graph, after: Graph, seed: int) -> None:
    """Every tensor that survived, except a rearranged input, holds the same codes."""
    image = np.random.default_rng(seed).integers(-128, 128, before.input.image).astype(np.int8)
    old, new = direct.run(before, image), direct.run(after, image)
    assert after.output in new
    for name in new:
        if after.tensors[name].shape == before.tensors[name].shape:
            assert np.array_equal(old[name], new[name]), name


@pytest.mark.parametrize("seed", range(12))
def test_space_to_depth_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = (int(rng.integers(1, 8)), int(rng.integers(1, 8)))
    pads = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel))
    net = Net(seed, (int(rng.integers(1, 5)), 12, 16))
    graph = net.graph(net.conv("image", 9, kernel, "stem", stride=(2, 2), pads=pads))
    after = fold_space_to_depth(graph)
    verify(after)
    assert after.input.block == 2 and after.ops[1].stride == (1, 1)  # type: ignore[union-attr]
    equal(graph, after, seed)


@pytest.mark.parametrize(
    ("image", "stride"), [((5, 12, 12), (2, 2)), ((3, 13, 12), (2, 2)), ((3, 12, 12), (1, 1)), ((3, 12, 12), (2, 1))]
)
def test_space_to_depth_leaves_others_alone(image: tuple[int, int, int], stride: tuple[int, int]) -> None:
    net = Net(0, image)
    graph = net.graph(net.conv("image", 4, (3, 3), "stem", stride=stride, pads=(1, 1, 1, 1)))
    assert fold_space_to_depth(graph).input.block == 1


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "kernel"),
    [
        (4, 8, 8, 3),
        (3, 8, 8, 1),
        (2, 16, 32, 3),
        (6, 16, 16, 1),
        (5, 3, 2, 3),
        (24, 1, 1, 7),
        (24, 1, 2, 3),
        (8, 4, 4, 5),
    ],
)
def test_aligned_groups_are_exact(groups: int, inputs: int, outputs: int, kernel: int) -> None:
    net = Net(groups, (groups * inputs, 6, 7))
    pads = (kernel // 2,) * 4
    graph = net.graph(net.conv("image", groups * outputs, (kernel, kernel), "y", groups=groups, pads=pads))
    after = align_groups(graph)
    verify(after)
    conv = after.ops[1]
    assert isinstance(conv, Conv)
    whole = conv.groups == 1 or conv.weight.shape[1] % 16 == len(conv.weight) // conv.groups % 16 == 0
    assert whole, "a group is not whole channel groups"
    equal(graph, after, groups)


def test_small_depthwise_stays() -> None:
    net = Net(0, (24, 8, 8))
    graph = net.graph(net.conv("image", 24, (5, 5), "y", groups=24, pads=(2, 2, 2, 2)))
    assert align_groups(graph).ops[1] is graph.ops[1]


@pytest.mark.parametrize("swap", [False, True])
def test_residual_joins_the_convolution(swap: bool) -> None:
    net = Net(1, (8, 5, 5))
    a = net.conv("image", 8, (3, 3), "a", pads=(1, 1, 1, 1))
    b = net.conv(a, 8, (1, 1), "b")
    graph = net.graph(net.add(*((a, b) if not swap else (b, a)), "y"))
    c = net.tensors  # the residual of b's own input cannot be read in the same instruction
    assert len(fuse_residuals(graph).ops) == len(graph.ops) and "b" in c
    net = Net(2, (8, 5, 5))
    a = net.conv("image", 8, (3, 3), "a", pads=(1, 1, 1, 1))
    b = net.conv(net.conv(a, 8, (1, 1), "b1"), 8, (1, 1), "b")
    graph = net.graph(net.add(*((a, b) if not swap else (b, a)), "y"))
    after = fuse_residuals(graph)
    verify(after)
    assert len(after.ops) == len(graph.ops) - 1
    last = after.ops[-1]
    assert isinstance(last, Conv) and last.residual == "a" and last.name == "b"
    equal(graph, after, 3)


def test_tensor_with_two_readers_is_not_fused_away() -> None:
    net = Net(3, (8, 5, 5))
    b = net.conv(net.conv("image", 8, (1, 1), "a"), 8, (1, 1), "b")
    net.conv(b, 8, (1, 1), "other")
    graph = net.graph(net.add(b, "other", "y"))
    after = fuse_residuals(graph)
    verify(after)
    equal(graph, after, 4)
    assert any(op.y == "b" for op in after.ops)


def broken(change: Callable[[Graph], Graph]) -> None:
    net = Net(5, (8, 6, 6))
    a = net.conv("image", 8, (3, 3), "a", pads=(1, 1, 1, 1))
    b = net.conv(net.conv(a, 8, (1, 1), "b1"), 8, (1, 1), "b")
    graph = passes.run(net.graph(net.add(b, a, "y")))
    verify(graph)
    with pytest.raises(InternalError, match="graph verifier"):
        verify(change(graph))


def _edit(graph: Graph, index: int, **changes: object) -> Graph:
    ops = list(graph.ops)
    ops[index] = replace(ops[index], **changes)  # type: ignore[arg-type]
    return replace(graph, ops=tuple(ops))


BREAKS: dict[str, Callable[[Graph], Graph]] = {
    "order": lambda g: replace(g, ops=(g.ops[0], *reversed(g.ops[1:]))),
    "no input": lambda g: replace(g, ops=g.ops[1:]),
    "unknown tensor": lambda g: _edit(g, 1, x="nothing"),
    "written twice": lambda g: replace(g, ops=(*g.ops, g.ops[-1])),
    "output": lambda g: replace(g, output="nothing"),
    "left over": lambda g: replace(g, tensors={**g.tensors, "z": Tensor("z", (1, 1, 1), Quant(1.0, 0))}),
    "shape": lambda g: _edit(g, 1, pads=(0, 0, 0, 0)),
    "groups": lambda g: _edit(g, 1, groups=2),
    "bias": lambda g: _edit(g, 1, bias=g.ops[1].bias[:-1]),  # type: ignore[union-attr]
    "accumulator": lambda g: _edit(g, 1, bias=g.ops[1].bias + (1 << 26)),  # type: ignore[union-attr]
    "table": lambda g: _edit(g, 1, table=np.zeros(100, np.int8)),
    "wide table": lambda g: _edit(g, 1, table=np.zeros(4096, np.int8)),
    "multiplier": lambda g: _edit(g, 1, requant=Requant(np.full(8, 1 << 17), np.full(8, 3), 0)),
    "shift": lambda g: _edit(g, 1, requant=Requant(np.full(8, 1 << 16), np.full(8, 48), 0)),
    "residual": lambda g: _edit(g, -1, residual=None),
    "zero point": lambda g: replace(g, tensors={**g.tensors, "a": replace(g.tensors["a"], quant=Quant(0.1, 200))}),
    "scale": lambda g: replace(g, tensors={**g.tensors, "a": replace(g.tensors["a"], quant=Quant(0.0, 0))}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_verifier_finds(name: str) -> None:
    broken(BREAKS[name])


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.5,) * 3, None),
        (None, (0.5,) * 3),
        ((0.5,) * 2, (0.5,) * 3),
        ((0.5,) * 3, (0.5, 0.0, 0.5)),
        ((np.nan,) * 3, (1.0,) * 3),
    ],
)
def test_wrong_normalization(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    net = Net(6, (3, 8, 8))
    graph = net.graph(net.conv("image", 4, (1, 1), "y"))
    with pytest.raises(UserError, match="normalization"):
        passes.run(graph, mean, std)
