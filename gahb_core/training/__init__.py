"""Training: recipes of networks by name, one resumable loop, and the checkpoints that it leaves.

A `Recipe` is all that decides a trained network; `fit` trains it, a generator that yields its
progress; `train` also keeps it, and `load` finds it again, by name.

`<folder>/<profile>/<name>.safetensors` and `<name>.card.json` stand side by side; an unfinished
training keeps `<name>.state` there, and one that runs holds `<name>.lock`. A file whose hash,
shapes or recipe do not fit is refused; the card holds the weights' hash and its own.
"""

from gahb_core.training.card import CARD_PSNR_IN
from gahb_core.training.foreign import load_foreign
from gahb_core.training.load import Checkpoint, load, load_denoiser, load_energy, load_multiscale
from gahb_core.training.loop import (
    Progress,
    batch_indices,
    clean_bands,
    estimate_norms,
    fit,
    fit_network,
    learning_rate,
    make_batch,
)
from gahb_core.training.optimizers import GramMuon, MuonAdam, make_optimizer, orthogonalize
from gahb_core.training.own import load_own, own_recipe
from gahb_core.training.profiles import RECIPES, find_recipe
from gahb_core.training.recipes import (
    DETAIL_WIDTHS,
    LAPTOP,
    PIXEL_WIDTHS,
    SMOKE,
    TWICE,
    Recipe,
    as_in_papers,
    fingerprint,
    make_network,
    to_json,
)
from gahb_core.training.save import save, train
from gahb_core.training.scale import GPU_RATE, WIDTHS, count_flop
from gahb_core.training.store import checkpoint_status, folder, hash_card, paths, write_card
