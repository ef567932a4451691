# SPDX-License-Identifier: Apache-2.0
"""``python -m hwgen``."""

from hwgen.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
