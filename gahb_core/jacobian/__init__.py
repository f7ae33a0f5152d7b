"""Jacobian: J = ∂x̂/∂y of any denoiser, as products, as a matrix, and as its eigenvectors.

`push` gives J v and `pull` gives Jᵀ u, both for a batch of vectors at one noisy image; everything
else is built of the two. No function but `dense` forms the D × D matrix.
"""

from gahb_core.jacobian.estimates import (
    Estimate,
    estimate_asymmetry,
    estimate_sum_sq,
    estimate_trace,
)
from gahb_core.jacobian.krylov import (
    NotConvergedError,
    symmetric_eigenpairs,
    top_eigenpairs,
    top_singular_values,
)
from gahb_core.jacobian.products import (
    Products,
    dense,
    filter_radius,
    filters,
    jvp,
    linearity_error,
    linearize,
    vjp,
)
from gahb_core.jacobian.spectrum import (
    SingularValues,
    Spectrum,
    asymmetry,
    decompose,
    mean_uv,
    overlap,
    svd,
    symmetric_part,
)

__all__ = [
    "Estimate",
    "NotConvergedError",
    "Products",
    "SingularValues",
    "Spectrum",
    "asymmetry",
    "decompose",
    "dense",
    "estimate_asymmetry",
    "estimate_sum_sq",
    "estimate_trace",
    "filter_radius",
    "filters",
    "jvp",
    "linearity_error",
    "linearize",
    "mean_uv",
    "overlap",
    "svd",
    "symmetric_eigenpairs",
    "symmetric_part",
    "top_eigenpairs",
    "top_singular_values",
    "vjp",
]
