"""`python -m sekimori` is the command line."""

from __future__ import annotations

import sys

from sekimori.cli.main import main

sys.exit(main())
