# SPDX-License-Identifier: Apache-2.0
"""What a person reads on the terminal; the same figures as in the JSON, nothing computed here."""
