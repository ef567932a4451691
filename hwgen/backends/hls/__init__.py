# SPDX-License-Identifier: Apache-2.0
"""The HLS backend: writes the machine as Vitis HLS C++, simulates it with a C++ compiler, runs Vitis where it is."""

from __future__ import annotations

from hwgen.backends.hls.emit import emit

__all__ = ["emit"]
