"""Widgets: `explore_*` figures, moved by sliders and buttons, with and without a kernel.

`explore_flipbook` holds every frame beforehand, so that it moves in a rendered page with no kernel
and no network: there it is plain HTML, in JupyterLab it is made of ipywidgets. `explore_live`
calls Python when a control moves, so that it needs a running kernel and says so in a rendered
page. The pipeline sets the environment variable GAHB_PAGE when it executes a chapter as a page.
"""

from gahb_book.widgets.controls import in_page
from gahb_book.widgets.flipbook import explore_flipbook
from gahb_book.widgets.live import explore_live
from gahb_book.widgets.pictures import picture_html, png_bytes, show_figure
from gahb_book.widgets.progress import progress
