"""python -m tests.chaos --kills N --store STORE [--seed S] [--sender journaled|careless]"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from chaos.command import main

if __name__ == "__main__":
    sys.exit(main())
