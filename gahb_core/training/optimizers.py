"""Optimizers: Adam, and Muon with Adam for what is no matrix."""

import torch
from torch import Tensor, nn

from gahb_core.recipes import Recipe


class MuonAdam:
    """Muon on the convolutions as matrices (out, in·k·k), Adam on γ, both ends and upsampling.

    Muon moves a matrix along the orthogonal factor of its averaged gradient, so that every
    direction of it advances alike; `match_rms_adamw` gives its steps the size of Adam's, and one
    rate serves both. torch's Muon takes matrices only: these are views of the weights.
    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon.
    """

    def __init__(self, net: nn.Module, rate: float) -> None:
        convs = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]
        self.weights = [w for w in convs if min(w.shape[:2]) > 1]
        taken = {id(w) for w in self.weights}
        rest = [p for p in net.parameters() if id(p) not in taken]
        self.matrices = [nn.Parameter(_as_matrix(w.detach(), w)) for w in self.weights]
        self.parts = (
            torch.optim.Muon(
                self.matrices, lr=rate, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
            ),
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
    if weight.is_contiguous(memory_format=torch.channels_last):
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
    raise ValueError(f"optimizer must be 'muon' or 'adam', not {recipe.optimizer!r}")
