# SPDX-License-Identifier: Apache-2.0
"""What a board needs to run a build: the folders ``deploy/`` and ``vivado/``."""

from hwgen.backends.board.deploy import emit
from hwgen.backends.board.design import IPS, block_design
from hwgen.backends.board.hwh import render_hwh
from hwgen.backends.board.vivado import run_vivado

__all__ = ["IPS", "block_design", "emit", "render_hwh", "run_vivado"]
