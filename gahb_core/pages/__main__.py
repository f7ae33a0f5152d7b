"""`python -m gahb_core.pages NAME` executes one page; `gahb run` starts it."""

import sys

from gahb_core.pages.execute import main

sys.exit(main())
