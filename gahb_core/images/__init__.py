"""Images: where x comes from. Loaded or made, (N, 1, H, W), float32 in [0, 1].

Every set has three disjoint splits: A and B, to train two networks that share no image, and
"test". Made images are endless and seeded one by one; loaded ones are
shuffled with a fixed permutation before they are split. `FAMILIES` is the table of all there are.
"""

from gahb_core.images.c_alpha import CAlpha, make_c_alpha, make_c_alpha_parts
from gahb_core.images.disks import cover_disks, draw_disks, make_disk_parameters, make_disks
from gahb_core.images.family import Family
from gahb_core.images.files import MissingData, data_folder, download
from gahb_core.images.pictures import load_picture
from gahb_core.images.ray import draw_ray, make_ray, make_ray_parameters
from gahb_core.images.resize import resize_area
from gahb_core.images.sets import FAMILIES, ImageSet, fetch, load_images, locate, open_images
from gahb_core.images.shuffled import pixel_permutation, shuffle_pixels, unshuffle_pixels
from gahb_core.images.sinusoids import draw_sinusoids, make_sinusoid_parameters, make_sinusoids
from gahb_core.images.tangents import tangent_vectors

__all__ = [
    "FAMILIES",
    "CAlpha",
    "Family",
    "ImageSet",
    "MissingData",
    "cover_disks",
    "data_folder",
    "download",
    "draw_disks",
    "draw_ray",
    "draw_sinusoids",
    "fetch",
    "load_images",
    "load_picture",
    "locate",
    "make_c_alpha",
    "make_c_alpha_parts",
    "make_disk_parameters",
    "make_disks",
    "make_ray",
    "make_ray_parameters",
    "make_sinusoid_parameters",
    "make_sinusoids",
    "open_images",
    "pixel_permutation",
    "resize_area",
    "shuffle_pixels",
    "tangent_vectors",
    "unshuffle_pixels",
]
