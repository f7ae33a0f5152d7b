"""Images: distributions of images that are made, seeded one by one.

All are (N, 1, H, W), float32 in [0, 1].

Sets of images by name, made or loaded from files, are in `data`.
"""

from gahb_core.images.c_alpha import CAlpha, make_c_alpha, make_c_alpha_parts
from gahb_core.images.disks import cover_disks, draw_disks, make_disk_parameters, make_disks
from gahb_core.images.family import Family
from gahb_core.images.ray import draw_ray, make_ray, make_ray_parameters
from gahb_core.images.resize import resize_area
from gahb_core.images.shuffled import pixel_permutation, shuffle_pixels, unshuffle_pixels
from gahb_core.images.sinusoids import draw_sinusoids, make_sinusoid_parameters, make_sinusoids
from gahb_core.images.tangents import tangent_vectors
