# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST as the files that `hwgen zoo train`, `hwgen quantize` and bench/accuracy.py take.

    python bench/fashion_mnist.py OUT [--data /usr/share/datasets/fashion-mnist]

Writes OUT/train.npz and OUT/test.npz: `images` uint8 (N, 28, 28, 1) and `label` (N,).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "fashion"))
from make_example import DATA, read_part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for part, name in (("train", "train"), ("t10k", "test")):
        images, labels = read_part(options.data, part)
        np.savez(options.output / f"{name}.npz", images=images, label=labels)


if __name__ == "__main__":
    main()
