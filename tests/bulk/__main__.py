"""python -m tests.bulk --rows N --kills N [--per-second N] [--lease SECONDS] [--store STORE] [--seed S]"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from bulk.command import main

if __name__ == "__main__":
    sys.exit(main())
