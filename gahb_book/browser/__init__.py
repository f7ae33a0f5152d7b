"""Browser: the trained network itself in the reader's page, with no kernel and no internet.

`explore_network` makes a figure of a picture made beforehand and a script (static/<figure>.js)
over one engine (static/engine.js, static/methods.js) that runs the network, its Jacobian and its
ascent. `gahb build` puts the scripts, and the networks that pages ask for, beside the pages.
"""

from gahb_book.browser.figure import FIGURES, STATIC, explore_network, read_static
from gahb_book.browser.weights import (
    image_set,
    network_file,
    network_script,
    pack_network,
    script_name,
)
