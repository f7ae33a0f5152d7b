"""Chapters: their live figures, the pictures made beforehand, and the words beside them.

Each is a figure of `browser` with its network, its first state and its caption.
"""

from gahb_book.chapters.closed import explore_line, explore_peaks, explore_plane, mixture_posterior
from gahb_book.chapters.front import explore_front, key_picture, signed_colours
from gahb_book.chapters.large import explore_cascade, explore_filters
from gahb_book.chapters.made import explore_contour, explore_disk
from gahb_book.chapters.networks import (
    explore_basis,
    explore_born,
    explore_climb,
    explore_inpaint,
    explore_pairs,
    explore_photo,
    explore_shrink,
)
