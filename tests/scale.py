"""How much larger than usual the large tests are: CALLSHEET_TEST_SCALE, 1 where it is not set."""

from __future__ import annotations

import os

SCALE = int(os.environ.get("CALLSHEET_TEST_SCALE", "1"))
