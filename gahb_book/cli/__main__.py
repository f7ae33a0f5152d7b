"""`python -m gahb_book.cli` is the command `gahb`."""

import sys

from gahb_book.cli import main

sys.exit(main())
