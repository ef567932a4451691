# SPDX-License-Identifier: Apache-2.0
"""Makes the example: trains network.py on Fashion-MNIST, exports it, quantizes it with ONNX Runtime, measures it.

Writes, next to this script or to --output: fashion_vit*.onnx, images.npz, example.json. See README.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

DATA = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MEAN, STD = 0.2860, 0.3530  # of the training pixels / 255; main checks them against the data
SEED = 2
CALIBRATION_IMAGES = 200
KEPT_IMAGES = 256
FILES = {
    "fused": "fashion_vit.onnx",
    "fusedact": "fashion_vit_fusedact.onnx",
    "every-edge": "fashion_vit_every_edge.onnx",
}


# ---------------------------------------------------------------------------------------------------------------- data


def read_idx(path: Path) -> np.ndarray:
    """One gzipped IDX file of bytes: images as (N, 28, 28), labels as (N,), uint8."""
    try:
        data = gzip.decompress(path.read_bytes())
    except OSError as error:
        sys.exit(f"cannot read {path}: {error}. Install dataset-fashion-mnist (Debian) or give its folder with --data.")
    if data[:3] != b"\x00\x00\x08":
        sys.exit(f"{path} is no IDX file of bytes. Give the folder of the original Fashion-MNIST files with --data.")
    shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 1) and labels (N,), uint8, of the part "train" or "t10k"."""
    images = read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    return images[..., None], labels


def normalize(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) to the network's input: float32 (N, C, H, W), zero mean, unit deviation."""
    scaled = (images.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


# --------------------------------------------------------------------------------------------------- training, export


def train(build: Callable[[int], Any], images: np.ndarray, labels: np.ndarray, epochs: int) -> Any:
    """Trains what `build(classes)` makes, from a fixed seed, and returns it in eval mode. Minutes on two CPU cores."""
    import torch

    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a check for others' bugs, and slow
    generator = torch.Generator().manual_seed(SEED)
    network = build(len(CLASSES)).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {torch.get_num_threads()} threads")
    inputs = torch.from_numpy(normalize(images)).to(memory_format=torch.channels_last)
    targets = torch.from_numpy(labels.astype(np.int64))
    batch = 256
    steps = len(inputs) // batch
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=epochs * steps, pct_start=0.2)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(inputs), generator=generator)
        total = 0.0
        for step in range(steps):
            index = order[step * batch : (step + 1) * batch]
            x = inputs[index]
            # Mirrored clothes are clothes: the one augmentation, each image with even odds.
            mirror = torch.rand(batch, 1, 1, 1, generator=generator) < 0.5
            x = torch.where(mirror, x.flip(-1), x)
            loss = torch.nn.functional.cross_entropy(network(x), targets[index], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}", flush=True)
    return network.eval()


def export(network: Any, path: Path) -> None:
    """Writes the float network as ONNX: opset 17, batch 1, batch norms folded into their convolutions."""
    import torch

    # Contiguous: the exporter takes the memory format of the weights for real transposes otherwise.
    network = network.to(memory_format=torch.contiguous_format)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own successor at length
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, 28, 28),),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            opset_version=17,
            dynamo=False,
        )


# --------------------------------------------------------------------------------------------------------- quantizing


class Images(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
    """Feeds the calibrator one normalized image at a time."""

    def __init__(self, images: np.ndarray) -> None:
        self.feeds: Iterator[dict[str, np.ndarray]] = iter([{"image": x[None]} for x in normalize(images)])

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override, unused-ignore]
        return next(self.feeds, None)


def attention_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes from relu(q), relu(k) and the padded v up to the quotient, of every attention.

    Found by dataflow: everything between the Div and the Relu or Pad nodes above it. Slices above those stay quantized.
    """
    producer = {output: node for node in model.graph.node for output in node.output}
    found: dict[str, None] = {}
    for node in model.graph.node:
        pending = [node] if node.op_type == "Div" else []
        while pending:
            current = pending.pop()
            if current.name in found:
                continue
            found[current.name] = None
            if current.op_type not in ("Relu", "Pad"):
                pending += [producer[name] for name in current.input if name in producer]
    return list(found)


def name_activations(model: onnx.ModelProto) -> None:
    """Names the two nodes of each inlined HardSwish, in place: the quantizer excludes nodes by name."""
    for node in model.graph.node:
        if node.op_type == "Mul" and not node.name:
            node.name = node.output[0].removesuffix("_output_0")
    multiply = {name: node for node in model.graph.node if node.op_type == "Mul" for name in node.input}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type == "HardSigmoid":
            node.name = f"{multiply[node.output[0]].name}/HardSigmoid"
            renamed[node.output[0]] = node.output[0] = f"{node.name}_output_0"
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    del model.graph.value_info[:]  # it still has the old names; the quantizer infers it again


def join_activations(model: onnx.ModelProto) -> None:
    """Removes the quantizer between each convolution and its HardSwish, in place.

    The quantizer cannot leave it out: it always quantizes the output of a convolution that it quantizes.
    """
    producer = {output: node for node in model.graph.node for output in node.output}
    joined: dict[str, str] = {}
    for dequantize in [node for node in model.graph.node if node.op_type == "DequantizeLinear"]:
        quantizer = producer.get(dequantize.input[0])
        readers = {n.op_type for n in model.graph.node if dequantize.output[0] in n.input}
        if quantizer is None or readers != {"HardSigmoid", "Mul"} or producer[quantizer.input[0]].op_type != "Conv":
            continue
        joined[dequantize.output[0]] = quantizer.input[0]
        model.graph.node.remove(dequantize)
        model.graph.node.remove(quantizer)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = joined.get(name, name)
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def quantize(source: Path, target: Path, form: str, calibration: np.ndarray) -> None:
    """Writes the QDQ model of one form: int8 activations, int8 weights per output channel."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(prepared)
        name_activations(model)
        excluded = attention_nodes(model) if form != "every-edge" else []
        if form == "fusedact":  # HardSwish, which the preparation wrote as x * HardSigmoid(x)
            excluded += [node.name for node in model.graph.node if node.op_type in ("HardSigmoid", "Mul")]
        onnx.save(model, prepared)
        quantize_static(
            str(prepared),
            str(target),
            Images(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
        )
    model = onnx.load(target)
    if form == "fusedact":
        join_activations(model)
    # Only what a reader of the model needs: the shapes can be inferred again, the other operator sets are not used.
    del model.graph.value_info[:]
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


# ---------------------------------------------------------------------------------------------------------- measuring


def predict(path: Path, images: np.ndarray, optimize: bool = True) -> np.ndarray:
    """Class of each image (N,), by ONNX Runtime on the CPU. Without `optimize` each node runs as it is written."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return np.array([int(np.argmax(session.run(None, {"image": x[None]})[0])) for x in normalize(images)])


def accuracy(path: Path, images: np.ndarray, labels: np.ndarray, optimize: bool = True) -> dict[str, float]:
    """Share of right answers on the kept images and on the whole test set, 0 to 1."""
    right = predict(path, images, optimize) == labels
    return {"kept": round(float(right[:KEPT_IMAGES].mean()), 6), "test": round(float(right.mean()), 6)}


def installed_versions() -> dict[str, str]:
    """What the files were made with. PyTorch may be absent where the float model was made before."""
    found = {}
    for name in ("torch", "onnx", "onnxruntime", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the four Fashion-MNIST files (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder to write to (%(default)s)")
    parser.add_argument("--form", choices=[*FILES, "all"], default="all", help="what to leave in float (%(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="%(default)s")
    parser.add_argument("--float-model", type=Path, help="float ONNX: used if it is there, else trained and kept")
    arguments = parser.parse_args()

    train_images, train_labels = read_part(arguments.data, "train")
    images, labels = read_part(arguments.data, "t10k")
    if abs(train_images.mean() / 255 - MEAN) > 1e-3 or abs(train_images.std() / 255 - STD) > 1e-3:
        sys.exit(f"{arguments.data} does not hold Fashion-MNIST: other mean or deviation. Give its folder with --data.")
    arguments.output.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as folder:
        path = arguments.float_model or Path(folder) / "float.onnx"
        if not path.exists():
            import network

            export(train(network.build, train_images, train_labels, arguments.epochs), path)
        chosen = np.random.default_rng(SEED).choice(len(train_images), CALIBRATION_IMAGES, replace=False)
        report: dict[str, Any] = {
            "data": "Fashion-MNIST (MIT), Debian package dataset-fashion-mnist",
            "made_by": "make_example.py",
            "versions": installed_versions(),
            "epochs": arguments.epochs,
            "seed": SEED,
            "calibration_images": CALIBRATION_IMAGES,
            "input": {"name": "image", "shape": [1, 1, 28, 28], "layout": "NCHW"},
            "mean": [MEAN],
            "std": [STD],
            "classes": list(CLASSES),
            "kept_images": KEPT_IMAGES,
            "test_images": len(images),
            "float": {"accuracy": accuracy(path, images, labels)},
            "quantized": {},
        }
        print(f"float: {report['float']['accuracy']}", flush=True)
        for form in FILES if arguments.form == "all" else [arguments.form]:
            target = arguments.output / FILES[form]
            quantize(path, target, form, train_images[chosen])
            report["quantized"][form] = {
                "file": FILES[form],
                "accuracy": accuracy(target, images, labels),
                "accuracy_unoptimized": accuracy(target, images, labels, optimize=False),
            }
            print(f"{form}: {target.stat().st_size:,} bytes, {report['quantized'][form]}", flush=True)

    np.savez_compressed(arguments.output / "images.npz", images=images[:KEPT_IMAGES], labels=labels[:KEPT_IMAGES])
    (arguments.output / "example.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
