"""Bases: orthonormal bases of the space of images, as a pair of maps analyze ⇄ synthesize.

Every basis satisfies Parseval, ‖analyze(x)‖ = ‖x‖, and synthesize(analyze(x)) = x. The maps are
torch operations, so they follow the device and dtype of `x`, are differentiable, and work under
`torch.func`. All but the matrix bases cost O(D log D) or O(D √D), never a D × D matrix.
"""

from gahb_core.bases.basis import Basis, atoms, make_matrix_basis
from gahb_core.bases.fourier import dct_matrix, make_dct, make_fourier, make_pixels
from gahb_core.bases.harmonics import graph_laplacian, make_shape_harmonics
from gahb_core.bases.spectra import SpectrumFit, fit_spectrum, m_term_error
from gahb_core.bases.wavelets import make_wavelet, max_levels, wavelet_matrix
