"""`python -m gahb_book.run NAME` executes one page; `gahb run` starts it."""

import sys

from gahb_book.run.execute import main

sys.exit(main())
