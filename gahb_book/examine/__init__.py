"""`gahb examine`: the book's figures of any denoiser, beside those of the book's own network.

`given` reads what the command names, `measure` computes, `figures` draws, `page` writes one HTML
file that needs nothing else, and one JSON.
"""

from gahb_book.examine.figures import FIGURES, Figure
from gahb_book.examine.given import load_function, read_images
from gahb_book.examine.measure import Examination, examine, load_garments, summarize
from gahb_book.examine.page import write_report
