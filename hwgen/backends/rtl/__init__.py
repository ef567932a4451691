# SPDX-License-Identifier: Apache-2.0
"""SystemVerilog backend: the emitted project, its simulation with Verilator, its count with Yosys."""

from hwgen.backends.rtl.emit import emit
from hwgen.backends.rtl.vectors import write_vectors

__all__ = ["emit", "write_vectors"]
