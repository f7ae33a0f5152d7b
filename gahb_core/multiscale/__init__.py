"""Multi-scale: Haar bands, denoisers of details given the low band, coarse-to-fine cascades.

p(x_0) = p(x_J) ∏_j p(x̄_j | x_j): only the small x_J needs a network that sees all of it.

The authors' published networks (160×160 faces, J = 2, both levels) expect exactly the bands of
`haar_split`: [low, horizontal, vertical, diagonal], the low band being the block mean, with
PyWavelets' signs. Read in their code, and measured: of all 48 orders and signs this one denoises
best at both levels; the next best (the diagonal negated) loses 1.1 dB at the fine and 1.6 dB at
the coarse level, the others about 5 dB or more::

    low = residual_denoiser(load_authors("multi_scale__RF_40x40_low"))
    details = [
        conditional_denoiser(load_authors(f"multi_scale__RF_13x13_scale_{i}"))
        for i in (0, 1)  # 0 is the finest
    ]
    f = multiscale_denoiser(low, details)
"""

from gahb_core.multiscale.cascade import Ascent, Scale, rescale_range, sample_cascade, super_resolve
from gahb_core.multiscale.denoising import (
    Conditional,
    MultiScale,
    conditional_denoiser,
    multiscale_denoiser,
)
from gahb_core.multiscale.gaussian import (
    ConditionalGaussian,
    Factorization,
    factorize_gaussian,
)
from gahb_core.multiscale.haar import (
    Bands,
    Pyramid,
    haar_decompose,
    haar_level,
    haar_merge,
    haar_reconstruct,
    haar_split,
    upsample_low,
)
