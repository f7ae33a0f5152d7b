"""Optimizers: Muon with Adam for what is no matrix, Adam, and gradient descent with momentum."""

import torch
from torch import Tensor, nn

from gahb_core.networks.transformer import Block
from gahb_core.training.recipes import Recipe

# p(X) = aX + b(XXᵀ)X + c(XXᵀ)²X, five times: singular values in (.01, 1] go to 1 ± .3 (Jordan et
# al. 2024, and torch's)
_A, _B, _C = 3.4445, -4.7750, 2.0315
MOMENTUM = 0.9  # of "sgd"


def _odd_factor(gram: Tensor) -> Tensor:
    factor = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
    factor.diagonal().add_(_A)
    return factor


def _odd_steps(x: Tensor, num: int) -> Tensor:
    """Return p applied `num` times to a wide matrix (m, n), by products of m×m matrices.

    p(X) = P X with P = aI + bG + cG², G = XXᵀ, and p(X) p(X)ᵀ = P G P: G is iterated, the factors
    P are multiplied up, and X is touched twice in all.
    """
    gram = x @ x.mT
    product = factor = _odd_factor(gram)
    for _ in range(num - 1):
        gram = factor @ gram @ factor
        factor = _odd_factor(gram)
        product = factor @ product
    return product @ x


def orthogonalize(x: Tensor) -> Tensor:
    """Return a matrix (m, n) with its singular values moved to about one (Newton–Schulz).

    Narrow ones (min(m, n) ≤ 64) in float32. Wide ones in bfloat16, which is faster there, and with
    a fresh G after three steps: its small eigenvalues are lost to rounding, and grow. On the
    gradients of a UNet that leaves 4–6% of relative error, as five plain steps in bfloat16 do;
    without the fresh G it diverges; in float32 it is 3e-4.
    """
    if x.shape[0] > x.shape[1]:
        return orthogonalize(x.mT).mT
    x = x / x.norm().clamp(min=1e-7)
    if len(x) <= 64:
        return _odd_steps(x, 5)
    return _odd_steps(_odd_steps(x.bfloat16(), 3), 2).to(x.dtype)


class GramMuon(torch.optim.Muon):
    """torch's Muon, about twice as fast on a CPU: by `orthogonalize`, with torch's state."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure
        """Move all matrices that have a gradient."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            grads = [p.grad for p in moved]
            for p in moved:
                if not self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            means = [self.state[p]["momentum_buffer"] for p in moved]
            torch._foreach_lerp_(means, grads, 1 - group["momentum"])
            updates = torch._foreach_lerp(grads, means, group["momentum"])
            for p, update in zip(moved, updates, strict=True):
                size = 0.2 * max(p.shape) ** 0.5  # a step of the size of Adam's
                p.sub_(orthogonalize(update), alpha=group["lr"] * size)


class MuonAdam:
    """Muon on the convolutions as matrices (out, in·k·k), Adam on γ, both ends and upsampling.

    Of a transformer, Muon on all matrices of its blocks.

    Muon moves a matrix along the orthogonal factor of its averaged gradient, so that every
    direction of it advances alike; its steps have the size of Adam's (`match_rms_adamw`), and one
    rate serves both. torch's Muon takes matrices only: these are views of the weights.
    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    """

    def __init__(self, net: nn.Module, rate: float) -> None:
        convs = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]
        blocks = [m for m in net.modules() if isinstance(m, Block)]
        convs += [m.weight for b in blocks for m in b.modules() if isinstance(m, nn.Linear)]
        self.weights = [w for w in convs if min(w.shape[:2]) > 1]
        taken = {id(w) for w in self.weights}
        rest = [p for p in net.parameters() if id(p) not in taken]
        self.matrices = [nn.Parameter(_as_matrix(w.detach(), w)) for w in self.weights]
        self.parts = (
            GramMuon(self.matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
            torch.optim.Adam(rest, lr=rate, fused=True),
        )

    @property
    def param_groups(self) -> list[dict]:
        """Return the groups of both parts; their "lr" may be set."""
        return [g for part in self.parts for g in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for w in self.weights:
            w.grad = None
        self.parts[1].zero_grad(set_to_none)

    def step(self) -> None:
        """Move all parameters."""
        for matrix, w in zip(self.matrices, self.weights, strict=True):
            matrix.grad = None if w.grad is None else _as_matrix(w.grad, w)
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        """Return the state of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict) -> None:
        """Take up a state of `state_dict`."""
        for part, kept in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(kept)


def _as_matrix(values: Tensor, weight: Tensor) -> Tensor:
    """Return (out, in, k, k) as (out, in·k·k), in the order in which `weight` lies in memory."""
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        values = values.permute(0, 2, 3, 1)
    return values.reshape(len(values), -1)


def make_optimizer(recipe: Recipe, net: nn.Module) -> torch.optim.Optimizer | MuonAdam:
    """Return the recipe's optimizer over the parameters of `net`.

    Raises:
        ValueError: for one that is not known.
    """
    if recipe.optimizer == "muon":
        return MuonAdam(net, recipe.learning_rate)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(net.parameters(), lr=recipe.learning_rate, fused=True)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(net.parameters(), lr=recipe.learning_rate, momentum=MOMENTUM)
    raise ValueError(f"optimizer must be 'muon', 'adam' or 'sgd', not {recipe.optimizer!r}")
