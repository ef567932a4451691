# SPDX-License-Identifier: Apache-2.0
"""What a board needs to run a build: the folder ``deploy/``."""

from hwgen.backends.board.deploy import emit
from hwgen.backends.board.design import IPS
from hwgen.backends.board.hwh import render_hwh

__all__ = ["IPS", "emit", "render_hwh"]
