"""Live: the trained network itself in the reader's page, with no kernel and no internet.

`explore_network` makes a figure of a picture made beforehand and a script (static/<figure>.js)
over one engine (static/engine.js, static/methods.js) that runs the network, its Jacobian and its
ascent. `gahb build` puts the scripts, and the networks that pages ask for, beside the pages.
"""

from gahb_core.live.assets import find_networks, page_assets, read_fragment
from gahb_core.live.chapters import (
    explore_basis,
    explore_climb,
    explore_inpaint,
    explore_pairs,
    explore_photo,
    explore_shrink,
)
from gahb_core.live.closed import explore_line, explore_peaks, explore_plane, mixture_posterior
from gahb_core.live.figure import FIGURES, explore_network, read_static
from gahb_core.live.front import explore_front, key_picture, signed_colours
from gahb_core.live.large import explore_cascade, explore_filters
from gahb_core.live.made import explore_contour, explore_disk
from gahb_core.live.weights import (
    image_set,
    network_file,
    network_script,
    pack_network,
    script_name,
)

__all__ = [
    "FIGURES",
    "explore_basis",
    "explore_cascade",
    "explore_climb",
    "explore_contour",
    "explore_disk",
    "explore_filters",
    "explore_front",
    "explore_inpaint",
    "explore_pairs",
    "explore_peaks",
    "explore_photo",
    "explore_plane",
    "explore_shrink",
    "explore_line",
    "explore_network",
    "find_networks",
    "image_set",
    "key_picture",
    "mixture_posterior",
    "network_file",
    "network_script",
    "pack_network",
    "page_assets",
    "read_fragment",
    "read_static",
    "script_name",
    "signed_colours",
]
