"""Images: where x comes from. Loaded or made, (N, 1, H, W), float32 in [0, 1].

Every set has three disjoint splits: A and B, to train two networks that share no image, and
"test". Made images (C^α, disks) are endless and seeded one by one; loaded ones are shuffled with a
fixed permutation before they are split.
"""

from gahb_core.images.c_alpha import CAlpha, make_c_alpha, make_c_alpha_parts
from gahb_core.images.disks import draw_disks, make_disk_parameters, make_disks
from gahb_core.images.files import MissingData, data_folder
from gahb_core.images.resize import resize_area
from gahb_core.images.sets import ImageSet, fetch, load_images, locate, open_images

__all__ = [
    "CAlpha",
    "ImageSet",
    "MissingData",
    "data_folder",
    "draw_disks",
    "fetch",
    "load_images",
    "locate",
    "make_c_alpha",
    "make_c_alpha_parts",
    "make_disk_parameters",
    "make_disks",
    "open_images",
    "resize_area",
]
