"""Make the embedded garments anew: `python -m gahb_core.data FOLDER` (see `fashion`)."""

import hashlib
import sys
from pathlib import Path

from gahb_core.data.fashion import make_embedded

if len(sys.argv) != 2:
    sys.exit("usage: python -m gahb_core.data FOLDER (with the data set's two image files)")
made = make_embedded(Path(sys.argv[1]))
print(len(made), "images, SHA-256", hashlib.sha256(made.tobytes()).hexdigest())
