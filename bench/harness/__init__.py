# SPDX-License-Identifier: BSD-3-Clause
"""What tools/bench is made of."""
