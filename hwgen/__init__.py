# SPDX-License-Identifier: Apache-2.0
"""hwgen: a compiler from quantized ONNX hybrid Vision Transformers to FPGA accelerators."""

__version__ = "0.1.0"
