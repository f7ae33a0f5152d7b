"""Data: image sets by name, where their files are, and what fetches and checks them.

Every set has three disjoint splits: A and B, to train two networks that share no image, and
"test". Made images are endless and seeded one by one; loaded ones are
shuffled with a fixed permutation before they are split. `FAMILIES` is the table of all there are.
"""

from gahb_core.data.files import MissingData, data_folder, download
from gahb_core.data.own import read_folder, register_images
from gahb_core.data.pictures import load_picture
from gahb_core.data.registry import FAMILIES, ImageSet, fetch, load_images, locate, open_images
