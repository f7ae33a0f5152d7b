"""`python -m gahb_core.cli` is the command `gahb`."""

import sys

from gahb_core.cli import main

sys.exit(main())
