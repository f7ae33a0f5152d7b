"""Adapters: a network of any convention as a denoiser f(y, σ) → x̂, and whether it is one.

`adapt` takes a module or a function of any range, scaling and output; `adapt_diffusers`,
`adapt_edm`, `adapt_kdiffusion`, `adapt_deepinv` and `adapt_ddpm_pytorch` read the convention off a
library's own object. `check_denoiser` tries a denoiser and says what is wrong, with its cure.
"""

from gahb_core.adapters.check import Finding, Report, check_denoiser
from gahb_core.adapters.convention import Adapted, adapt
from gahb_core.adapters.libraries import (
    adapt_ddpm_pytorch,
    adapt_deepinv,
    adapt_diffusers,
    adapt_edm,
    adapt_kdiffusion,
)
