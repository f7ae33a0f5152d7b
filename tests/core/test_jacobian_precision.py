"""A device without double precision, as Apple's GPU is: emulated, for there is none here.

A tensor of the class below stands for one on that device. Like torch's MPS it refuses float64 and
the decompositions that have no kernel there. What `.cpu()` gives is an ordinary tensor. (That no
tensor is made elsewhere than its operands are is what `test_devices` holds.)
"""

import pytest
import torch
from torch.overrides import resolve_name
from torch.utils._pytree import tree_leaves

from gahb_core import jacobian as jac
from gahb_core import metrics, sampling
from gahb_core.denoisers.contract import residual_denoiser, score
from gahb_core.networks.models import BFCNN, UNet
from gahb_core.networks.weights import initialize
from gahb_core.noise import add_noise, make_generator

NO_KERNEL = ("linalg_eigh", "linalg.eigh", "linalg_qr", "linalg.qr", "linalg_svd", "linalg.svd")


class Apple(torch.Tensor):
    """A tensor on the device."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = resolve_name(func) or getattr(func, "__name__", "")
        if name == "torch.Tensor.cpu" or (name == "torch.Tensor.to" and "cpu" in args[1:]):
            plain = args[0].as_subclass(torch.Tensor)
            return plain if name.endswith("cpu") else plain.to(*args[1:], **kwargs)
        if name.endswith(NO_KERNEL):
            raise NotImplementedError(f"{name} is not implemented for the device")
        moved = name in ("torch.Tensor.to", "torch.Tensor.type_as")
        out = super().__torch_function__(func, types, args, kwargs)
        for t in tree_leaves(out):
            if isinstance(t, torch.Tensor) and t.dtype == torch.float64:
                raise TypeError("the device has no float64")
        if moved:  # cpu.to(apple)
            return out.as_subclass(Apple)
        return out


@pytest.fixture(params=["unet", "bfcnn"])
def f(request):
    net = initialize(UNet(1, 4) if request.param == "unet" else BFCNN(4, 5), 0).eval()
    return residual_denoiser(net)


@pytest.fixture
def y():
    x = torch.rand(1, 1, 8, 8, generator=make_generator(0, "apple"))
    return add_noise(x, 0.1, 0).as_subclass(Apple)


def test_the_device_is_one(y):
    for wrong in (y.double, lambda: torch.linalg.qr(y[0, 0]), lambda: y.to(torch.float64)):
        with pytest.raises((TypeError, NotImplementedError)):
            wrong()
    assert type(y.cpu()) is torch.Tensor
    assert isinstance(y + y, Apple)
    assert y.cpu().double().dtype == torch.float64


def matrix(f, y):
    return jac.jacobian_matrix(f, y).as_subclass(type(y))


CALLS = {
    "top_eigenpairs": lambda f, y: jac.top_eigenpairs(f, y, num=3),
    "top_singular_values": lambda f, y: jac.top_singular_values(f, y, num=3),
    "estimate_trace": lambda f, y: jac.estimate_trace(f, y, num=4),
    "estimate_squared_norm": lambda f, y: jac.estimate_squared_norm(f, y, num=4),
    "estimate_asymmetry": lambda f, y: jac.estimate_asymmetry(f, y, num=4),
    "jacobian_matrix": jac.jacobian_matrix,
    "adaptive_filters": lambda f, y: jac.adaptive_filters(f, y, pixels=[(3, 4)]),
    "filter_radius": lambda f, y: jac.filter_radius(
        jac.adaptive_filters(f, y, pixels=[(3, 4)]), [(3, 4)]
    ),
    "subspace_overlap": lambda f, y: jac.subspace_overlap(
        *[jac.top_eigenpairs(f, y, num=3).atoms] * 2
    ),
    "eigendecompose": lambda f, y: jac.eigendecompose(matrix(f, y), (1, 8, 8)),
    "svd": lambda f, y: jac.svd(matrix(f, y), (1, 8, 8)),
    "left_right_alignment": lambda f, y: jac.left_right_alignment(matrix(f, y), 3),
    "asymmetry": lambda f, y: jac.asymmetry(matrix(f, y)),
    "linearity_error": jac.linearity_error,
    "psnr_curve": lambda f, y: metrics.psnr_curve(f, y.clamp(0, 1), [0.1]),
    "paired_difference": lambda f, y: metrics.paired_difference(
        f, lambda y, s: y, torch.cat([y, y / 2]), [0.1]
    ),
    "nearest_images": lambda f, y: metrics.nearest_images(y, torch.cat([y / 3, y + 1])),
    "score": lambda f, y: score(f, y, 0.1),
    "ascend": lambda f, y: sampling.finish(sampling.ascend(lambda y, s: y / 2, y, h=0.5, beta=0.5)),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_read_off_a_denoiser_needs_no_double_precision(f, y, name):
    def values(result):
        leaves = result if isinstance(result, tuple | list) else [result]
        return [torch.as_tensor(v).as_subclass(torch.Tensor).double().abs() for v in leaves]

    found = values(CALLS[name](f, y))
    wanted = values(CALLS[name](f, y.cpu()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
