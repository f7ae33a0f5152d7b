"""Jacobian: J = ∂x̂/∂y of any denoiser, as products, as a matrix, and as its eigenvectors.

`push` gives J v and `pull` gives Jᵀ u, both for a batch of vectors at one noisy image; everything
else is built of the two. No function but `jacobian_matrix` forms the D × D matrix.
"""

from gahb_core.jacobian.estimates import (
    Estimate,
    Estimates,
    estimate_all,
    estimate_asymmetry,
    estimate_squared_norm,
    estimate_trace,
)
from gahb_core.jacobian.krylov import (
    NotConvergedError,
    symmetric_eigenpairs,
    top_eigenpairs,
    top_singular_values,
)
from gahb_core.jacobian.products import (
    Linearization,
    adaptive_filters,
    filter_radius,
    jacobian_matrix,
    linearity_error,
    linearize,
)
from gahb_core.jacobian.spectrum import (
    SingularValues,
    Spectrum,
    asymmetry,
    eigendecompose,
    left_right_alignment,
    subspace_overlap,
    svd,
    symmetric_part,
)
