"""Jacobian: products, matrix, eigenvectors and estimates against matrices formed by autograd."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import svds
from torch import nn

from gahb_core import jacobian as jac
from gahb_core.bases.fourier import make_dct
from gahb_core.denoisers.contract import noise_conditional_denoiser, residual_denoiser
from gahb_core.denoisers.gaussian import gaussian_denoiser
from gahb_core.jacobian import krylov
from gahb_core.jacobian.masks import find_network
from gahb_core.multiscale.denoising import conditional_denoiser
from gahb_core.networks.models import BFCNN, UNet, fold_norm
from gahb_core.noise import make_generator

SHAPE = (1, 16, 16)


def make_net(kind="unet", blocks=2, base=8):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = UNet(blocks, base) if kind == "unet" else BFCNN(6, 12)
        for p in net.parameters():
            p.data = torch.randn_like(p) * 1.3 * (2 / p[0].numel()) ** 0.5 if p.ndim == 4 else p
    return fold_norm(net).double()


def make_image(size=16, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 1, size, size, generator=generator, dtype=dtype)


def by_autograd(f, y, **kwargs):
    return torch.autograd.functional.jacobian(lambda v: f(v, **kwargs), y).reshape(
        y.numel(), y.numel()
    )


def vectors(num=5, seed=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, *SHAPE, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module", params=["unet", "bfcnn"])
def net(request):
    return residual_denoiser(make_net(request.param))


@pytest.fixture(scope="module")
def linear():
    """A denoiser whose Jacobian is a given matrix, far from symmetric."""
    generator = torch.Generator().manual_seed(3)
    J = torch.randn(256, 256, generator=generator, dtype=torch.float64) / 16
    return J, lambda y, sigma=None: (y.flatten(1) @ J.to(y).T).reshape(y.shape)


@pytest.mark.parametrize("block", [3, 64])
def test_dense_and_products_are_those_of_autograd(net, block):
    y, v = make_image(), vectors()
    J = by_autograd(net, y)
    torch.testing.assert_close(jac.jacobian_matrix(net, y, block=block), J, rtol=0, atol=1e-12)
    forward = (v.flatten(1) @ J.T).reshape(v.shape)
    torch.testing.assert_close(
        jac.linearize(net, y, block=block).push(v), forward, rtol=0, atol=1e-11
    )
    backward = (v.flatten(1) @ J).reshape(v.shape)
    torch.testing.assert_close(
        jac.linearize(net, y, block=block).pull(v), backward, rtol=0, atol=1e-11
    )


def test_push_and_pull_are_adjoint_and_leave_no_graph(net):
    products = jac.linearize(net, make_image())
    u, v = vectors(seed=4), vectors(seed=5)
    left = (u * products.push(v)).flatten(1).sum(1)
    right = (products.pull(u) * v).flatten(1).sum(1)
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-11)
    assert not products.push(v).requires_grad
    assert not products.x_hat.requires_grad
    assert all(p.requires_grad for p in net.net.parameters())
    torch.testing.assert_close(products.x_hat, net(make_image())[0].detach())


def test_no_vectors_give_no_products(net):
    assert jac.linearize(net, make_image()).push(vectors(0)).shape == (0, *SHAPE)


def test_exact_denoiser_of_a_gaussian_has_its_shrinkage_factors():
    generator = torch.Generator().manual_seed(6)
    variances = torch.rand(256, generator=generator, dtype=torch.float64)
    basis = make_dct(16)
    atoms = basis.synthesize(torch.eye(256, dtype=torch.float64)).flatten(1)
    f = gaussian_denoiser(torch.zeros(SHAPE).double(), (atoms.T * variances) @ atoms)
    lam = jac.top_eigenpairs(f, make_image(), num=8, sigma=0.7, tol=1e-9).lam
    expected = (variances / (variances + 0.49)).sort(descending=True).values[:8]
    torch.testing.assert_close(lam, expected, rtol=0, atol=1e-9)


def test_bias_free_net_is_its_jacobian(net):
    assert jac.linearity_error(net, make_image()) < 1e-12
    single = residual_denoiser(make_net().float())
    assert jac.linearity_error(single, make_image(dtype=torch.float32)) < 1e-5


def test_a_bias_is_seen():
    assert jac.linearity_error(lambda y, sigma=None: y / 2 + 1, make_image()) > 0.1


def test_filter_radius_of_a_box_a_point_and_a_band_elsewhere():
    box = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    box[..., 4:11, 4:11] = 0.3
    assert jac.filter_radius(box, [(7, 7)], 1.0).item() == pytest.approx(3 * 2**0.5)
    # of 49 equal squares the 9 nearest hold .18, the 21 within √5 .43, and 25 a little more
    radii = [jac.filter_radius(box, [(7, 7)], s).item() for s in (0.01, 0.18, 0.4, 0.5)]
    assert radii == pytest.approx([0, 2**0.5, 5**0.5, 8**0.5])
    point = torch.zeros(2, 3, 8, 8)
    point[0, 2, 3, 4], point[1, 0, 3, 4], point[1, 1, 3, 7] = 5, 3, -1  # exactly .9, and .1
    assert jac.filter_radius(point, [(0, 0), (3, 4)]).tolist() == [5, 0]
    assert jac.filter_radius(point, [(3, 4), (3, 4)], 0.95).tolist() == [0, 3]


def test_filter_radius_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"one a filter .* not 1 for \(2, 1, 8, 8\)"):
        jac.filter_radius(torch.ones(2, 1, 8, 8), [(0, 0)])
    for share in (0, 1.1):
        with pytest.raises(ValueError, match=f"at most 1, not {share}"):
            jac.filter_radius(torch.ones(1, 1, 8, 8), [(0, 0)], share)


def test_filters_are_rows_of_the_jacobian(net):
    y = make_image()
    rows = jac.adaptive_filters(net, y, pixels=[(0, 0), (5, 11)])
    J = jac.jacobian_matrix(net, y)
    torch.testing.assert_close(rows.flatten(1), J[[0, 5 * 16 + 11]], rtol=0, atol=1e-12)
    estimate = (rows * y).flatten(1).sum(1)
    torch.testing.assert_close(estimate, net(y)[0, 0, [0, 5], [0, 11]].detach())


def test_decomposition_rebuilds_the_symmetric_part(linear):
    J, _ = linear
    spectrum = jac.eigendecompose(J, SHAPE)
    e = spectrum.atoms.flatten(1)
    torch.testing.assert_close((e.T * spectrum.lam) @ e, (J + J.T) / 2, rtol=0, atol=1e-11)
    assert (spectrum.lam.diff() <= 0).all()
    assert (spectrum.residuals < 1e-11).all()
    singular = jac.svd(J, SHAPE)
    rebuilt = (singular.u.flatten(1).T * singular.s) @ singular.v.flatten(1)
    torch.testing.assert_close(rebuilt, J, rtol=0, atol=1e-11)


@pytest.mark.parametrize("block", [1, 5, 8])
def test_top_eigenpairs_are_those_of_the_matrix(net, block):
    y = make_image()
    full = jac.eigendecompose(jac.jacobian_matrix(net, y), SHAPE)
    top = jac.top_eigenpairs(net, y, num=12, tol=1e-7, block=block)
    torch.testing.assert_close(top.lam, full.lam[:12], rtol=0, atol=1e-10)
    e = top.atoms.flatten(1)
    torch.testing.assert_close(e @ e.T, torch.eye(12).double(), rtol=0, atol=1e-10)
    S = jac.symmetric_part(by_autograd(net, y))
    residuals = (e @ S - top.lam[:, None] * e).norm(dim=1)
    torch.testing.assert_close(top.residuals, residuals, rtol=0, atol=1e-10)
    assert (top.residuals <= 1e-7).all()


def test_top_singular_values_are_those_of_the_matrix(net):
    y = make_image()
    full = jac.svd(jac.jacobian_matrix(net, y), SHAPE)
    top = jac.top_singular_values(net, y, num=5, tol=1e-9)
    torch.testing.assert_close(top.s, full.s[:5], rtol=0, atol=1e-9)
    for k in range(5):
        sign = torch.sign((top.v[k] * full.v[k]).sum())
        torch.testing.assert_close(top.v[k], sign * full.v[k], rtol=0, atol=1e-6)
        torch.testing.assert_close(top.u[k], sign * full.u[k], rtol=0, atol=1e-6)


def test_top_eigenpairs_restart_when_the_space_is_full():
    """Bulk of 900 close eigenvalues and a few products kept: the restarts must carry it."""
    lam = torch.cat([torch.linspace(1, 0.99, 20), torch.linspace(0.98, 0, 880)]).double()
    f = lambda y, sigma=None: y * lam.reshape(30, 30)  # noqa: E731
    top = jac.top_eigenpairs(f, make_image(30), num=6, tol=1e-6, block=2)
    torch.testing.assert_close(top.lam, lam[:6], rtol=0, atol=1e-9)
    assert 2 * 6 < top.num_products < 900


def test_unet_at_32_agrees_with_the_dense_decomposition():
    f, y = residual_denoiser(make_net(blocks=3, base=8).float()), make_image(32, torch.float32)
    full = jac.eigendecompose(jac.jacobian_matrix(f, y, block=128).double(), (1, 32, 32))
    top = jac.top_eigenpairs(f, y, num=20, tol=1e-3 * full.lam[0].item())
    torch.testing.assert_close(
        top.lam.double() / full.lam[0], full.lam[:20] / full.lam[0], rtol=0, atol=1e-4
    )


def test_all_eigenpairs_of_a_small_image():
    lam = torch.arange(16).double()
    top = jac.top_eigenpairs(lambda y, sigma=None: y * lam.reshape(4, 4), make_image(4), num=16)
    torch.testing.assert_close(top.lam, lam.flip(0), rtol=0, atol=1e-10)


def make_restless(net):
    """Fill norms and weights so that every term counts: γ and deviations far from one."""
    generator = torch.Generator().manual_seed(4)
    for name, value in net.state_dict().items():
        noise = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        near_one = "gammas" in name or "running_sd" in name
        value.copy_(1 + 0.2 * noise.tanh() if near_one else noise * (2 / value[0].numel()) ** 0.5)
    return net


def make_told(**kwargs):
    low = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(5)).double()
    net = make_restless(BFCNN(5, 6, 4, 3, **kwargs).double())
    return partial(conditional_denoiser(net), condition=low), (1, 3, 8, 8)


OURS = {
    "unet, three blocks": lambda: (
        residual_denoiser(make_restless(UNet(3, 4).double())), (1, 1, 16, 24)),
    "unet, one block, training mode": lambda: (
        residual_denoiser(make_restless(UNet(1, 4).double().train())), (1, 1, 6, 8)),
    "unet, chosen widths, folded": lambda: (
        residual_denoiser(fold_norm(make_restless(UNet(2, channels=[3, 5, 4]).double()))),
        (1, 1, 8, 8)),
    "unet, told σ": lambda: (
        noise_conditional_denoiser(make_restless(UNet(1, 4, None, 2, 1).double())),
        (1, 1, 6, 8)),
    "bfcnn, a ReLU more": lambda: (
        residual_denoiser(make_restless(BFCNN(4, 6, first_relu=True).double())), (1, 1, 8, 8)),
    "bfcnn": lambda: (residual_denoiser(make_restless(BFCNN(5, 6).double())), (1, 1, 9, 7)),
    "bfcnn, 1×1 and a skip": lambda: (
        residual_denoiser(make_restless(BFCNN(5, 6, skip=True, spatial_layers=[2]).double())),
        (1, 1, 9, 7)),
    "details": lambda: make_told(),
    "details, a skip": lambda: make_told(skip=True),
    "details, residual": lambda: make_told(residual=True),
}  # fmt: skip


@pytest.mark.parametrize("kind", OURS)
def test_masks_kept_give_what_differentiation_gives(kind):
    """The networks' own products against torch.func's, in double precision, norms and all."""
    f, shape = OURS[kind]()
    assert find_network(f) is not None
    generator = torch.Generator().manual_seed(6)
    y = torch.randn(shape, generator=generator, dtype=torch.float64)
    v = torch.randn(5, *shape[1:], generator=generator, dtype=torch.float64)
    kept = v.clone()
    ours = jac.linearize(f, y, 0.3, block=2)
    other = jac.linearize(lambda z, sigma=None: f(z, sigma), y, 0.3, block=2)
    scale = other.push(v).abs().max().item()
    for a, b in [
        (ours.x_hat, other.x_hat), (ours.push(v), other.push(v)), (ours.pull(v), other.pull(v)),
    ]:  # fmt: skip
        assert not a.requires_grad
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * scale)
    assert torch.equal(v, kept)
    assert (ours.push(v) - v).abs().max() > 0.01 * scale  # the network has its part in it


def test_other_denoisers_are_differentiated():
    """Only the networks themselves are known: what is wrapped, or bends them, is not."""
    net = make_net()

    class Halved(UNet):
        def forward(self, y):
            return super().forward(y) / 2

    f = residual_denoiser(net)
    assert find_network(f)[0] is net
    for other in (lambda y, sigma=None: f(y), residual_denoiser(nn.Sequential(net)),
                  residual_denoiser(Halved(1, 4)), partial(f, make_image()),
                  residual_denoiser(UNet(1, 4, smooth=True))):  # fmt: skip
        assert find_network(other) is None


@pytest.mark.parametrize("rank", [0, 5, 30])
def test_repeated_eigenvalues_are_all_found(rank):
    keep = (torch.arange(64) < rank).double().reshape(8, 8)
    top = jac.top_eigenpairs(lambda y, sigma=None: y * keep, make_image(8), num=20, tol=1e-8)
    expected = (torch.arange(20) < rank).double()
    torch.testing.assert_close(top.lam, expected, rtol=0, atol=1e-10)


def test_estimates_lie_within_their_errors(linear):
    J, f = linear
    y = make_image()
    for estimate, exact in [
        (jac.estimate_trace(f, y, num=400), J.trace()),
        (jac.estimate_squared_norm(f, y, num=400), J.square().sum()),
        (jac.estimate_asymmetry(f, y, num=400), jac.asymmetry(J)),
    ]:
        assert abs(estimate.value - exact) < 4 * estimate.standard_error
    few, many = (jac.estimate_trace(f, y, num=n).standard_error for n in (100, 1600))
    assert few / many == pytest.approx(4, rel=0.25)


def test_asymmetry_and_alignment_of_known_matrices():
    turn = torch.tensor([[0.0, -1], [1, 0]]).double()
    assert jac.asymmetry(torch.eye(3)) == 0
    assert jac.asymmetry(turn) == pytest.approx(2)
    assert jac.left_right_alignment(torch.diag(torch.tensor([2.0, 1, 0.1]))) == pytest.approx(1)
    assert jac.left_right_alignment(turn) == pytest.approx(0)
    assert jac.left_right_alignment(torch.diag(torch.tensor([2.0, 1, -0.7])), 3) == pytest.approx(1)
    exact = jac.estimate_asymmetry(lambda y, sigma=None: y / 2, make_image())
    assert exact.value == 0


def test_random_state_and_arguments_are_left_alone(net):
    y = make_image()
    before, state = y.clone(), torch.get_rng_state()
    jac.top_eigenpairs(net, y, num=3)
    jac.estimate_trace(net, y, num=4)
    assert torch.equal(y, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_several_images_are_each_as_if_alone(net):
    y = vectors(3)
    found = jac.top_eigenpairs(net, y, num=4, tol=1e-6)
    alone = [jac.top_eigenpairs(net, one, num=4, tol=1e-6) for one in y.split(1)]
    assert found.lam.shape == (3, 4)
    assert found.atoms.shape == (3, 4, *SHAPE)
    assert torch.equal(found.lam, torch.stack([one.lam for one in alone]))
    assert torch.equal(found.atoms, torch.stack([one.atoms for one in alone]))
    assert found.num_products == sum(one.num_products for one in alone)
    with pytest.raises(ValueError, match="y must be finite"):
        jac.top_eigenpairs(net, torch.cat([y, y[:1] / 0]), num=2)


def test_vectors_are_kept_and_decomposed_where_they_are_told(net, monkeypatch):
    """Without a second device: what the algebra of vectors gets was moved by `to(store)`."""
    y, places = make_image(), []
    whole = krylov._orthonormalize

    def watched(rows, Q, generator):
        places.append((rows.device, Q.device))
        return whole(rows, Q, generator)

    monkeypatch.setattr(krylov, "_orthonormalize", watched)
    for find, parts in ((jac.top_eigenpairs, ("lam", "atoms")), (jac.top_singular_values, "usv")):
        plain, kept = find(net, y, num=3), find(net, y, num=3, store="cpu")
        assert all(torch.equal(getattr(plain, p), getattr(kept, p)) for p in parts)
    assert set(places) == {(torch.device("cpu"),) * 2}
    with pytest.raises(ValueError, match="store must be a device that is here, not 'nowhere'"):
        jac.top_eigenpairs(net, y, num=3, store="nowhere")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_vectors_are_kept_beside_it(net):
    y = make_image()
    plain = jac.top_eigenpairs(net, y, num=3, tol=1e-5)
    far = jac.top_eigenpairs(
        residual_denoiser(copy.deepcopy(net.net).cuda()), y.cuda(), num=3, tol=1e-5, store="cpu"
    )
    assert far.atoms.device.type == "cuda"
    torch.testing.assert_close(far.lam.cpu(), plain.lam, rtol=0, atol=1e-4)


def test_one_pass_of_probes_says_what_three_say(net):
    y, options = make_image(), {"num": 6, "seed": 4, "block": 4}
    found = jac.estimate_all(net, y, **options)
    assert found.trace == jac.estimate_trace(net, y, **options)
    assert found.squared_norm == jac.estimate_squared_norm(net, y, **options)
    assert found.asymmetry == jac.estimate_asymmetry(net, y, **options)
    with pytest.raises(ValueError, match="J must not be zero"):
        jac.estimate_all(lambda y, sigma=None: 0 * y, y)


def test_bad_input_is_named(linear):
    J, f = linear
    with pytest.raises(ValueError, match=r"y must be one noisy image \(1, C, H, W\), not \(2, 1"):
        jac.jacobian_matrix(f, torch.zeros(2, *SHAPE))
    with pytest.raises(
        ValueError, match=r"v must be of shape \(K, 1, 16, 16\), not \(1, 1, 8, 8\)"
    ):
        jac.linearize(f, make_image()).push(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="block must be at least 1, not 0"):
        jac.linearize(f, make_image(), block=0)
    with pytest.raises(
        ValueError, match=r"pixels must be whole \(row, column\) within \(16, 16\), not \(16, 0\)"
    ):
        jac.adaptive_filters(f, make_image(), pixels=[(16, 0)])
    with pytest.raises(ValueError, match="num must lie in 1 … 256, not 0"):
        jac.top_eigenpairs(f, make_image(), num=0)
    with pytest.raises(ValueError, match="tol must be above 0, not 0"):
        jac.top_eigenpairs(f, make_image(), num=2, tol=0)
    with pytest.raises(ValueError, match="num must be at least 2, not 1"):
        jac.estimate_trace(f, make_image(), num=1)
    with pytest.raises(ValueError, match=r"J must be a square matrix, not of shape \(2, 3\)"):
        jac.symmetric_part(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"shape must have 256 elements, not be \(1, 2, 2\)"):
        jac.eigendecompose(J, (1, 2, 2))
    with pytest.raises(ValueError, match="num must lie in 1 … 256, not 300"):
        jac.left_right_alignment(J, 300)
    with pytest.raises(jac.NotConvergedError, match="above tol = 1e-10 after 32 products"):
        jac.top_eigenpairs(f, make_image(), num=20, tol=1e-10, max_products=32)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_image_that_is_not_finite_is_refused_by_every_product(net, bad):
    """Through closed ReLUs the backward products would be finite, and plausible."""
    y = make_image()
    y[0, 0, 3, 3] = bad
    for measure in (
        lambda: jac.jacobian_matrix(net, y),
        lambda: jac.adaptive_filters(net, y, pixels=[(0, 0)]),
        lambda: jac.linearize(net, y).push(vectors()),
        lambda: jac.linearize(net, y).pull(vectors()),
        lambda: jac.linearity_error(net, y),
        lambda: jac.top_eigenpairs(net, y, num=2),
        lambda: jac.top_singular_values(net, y, num=2),
        lambda: jac.estimate_trace(net, y),
        lambda: jac.estimate_squared_norm(net, y),
        lambda: jac.estimate_asymmetry(net, y),
    ):
        with pytest.raises(ValueError, match="y must be finite, but 1 of 256 values"):
            measure()


def test_numbers_of_the_wrong_kind_are_refused(linear):
    J, f = linear
    y, eye = make_image(), torch.eye(256, dtype=torch.float64)
    for value in (0, -5, 2.5, float("nan"), True, "8"):
        for name in ("block", "max_products"):
            with pytest.raises(ValueError, match=f"{name} must be"):
                jac.top_eigenpairs(f, y, num=2, **{name: value})
    for value in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="tol must be"):
            jac.top_singular_values(f, y, num=2, tol=value)
    with pytest.raises(ValueError, match=r"y must be floating point, not torch.int64"):
        jac.jacobian_matrix(f, y.long())
    with pytest.raises(ValueError, match=r"v must be torch.float64 like y, not torch.float32"):
        jac.linearize(f, y).push(torch.ones(1, *SHAPE))
    for pixel in ((1.5, 0), (-1, 0), (0, 16)):
        with pytest.raises(ValueError, match=r"whole \(row, column\) within \(16, 16\)"):
            jac.adaptive_filters(f, y, pixels=[pixel])
    with pytest.raises(ValueError, match=r"within \(8, 8\), not \(99, 99\)"):
        jac.filter_radius(torch.ones(1, 1, 8, 8), [(99, 99)])
    with pytest.raises(ValueError, match="weights must not be zero"):
        jac.filter_radius(torch.zeros(1, 1, 8, 8), [(0, 0)])
    for read in (jac.asymmetry, jac.symmetric_part, jac.left_right_alignment):
        with pytest.raises(ValueError, match="J must be finite, but 256 of 65536"):
            read(J.index_fill(0, torch.tensor(3), float("nan")))
        with pytest.raises(ValueError, match=r"J must be floating point, not torch.int64"):
            read(eye.long())
    with pytest.raises(ValueError, match="J must not be zero"):
        jac.asymmetry(0 * J)
    with pytest.raises(ValueError, match="J must not be zero"):
        jac.estimate_asymmetry(lambda y, sigma=None: 0 * y, y)
    with pytest.raises(ValueError, match=r"f\(y\) must not be zero"):
        jac.linearity_error(f, 0 * y)
    axes = eye[:3].unflatten(1, SHAPE)
    with pytest.raises(ValueError, match="b must be orthonormal images, one or more, not 3 off"):
        jac.subspace_overlap(axes, 2 * axes)
    with pytest.raises(ValueError, match="a must be orthonormal images, one or more, not 0"):
        jac.subspace_overlap(axes[:0], axes)
    with pytest.raises(ValueError, match="a and b must have one shape"):
        jac.subspace_overlap(axes, eye[:3].unflatten(1, (1, 8, 32)))


def test_overlap_counts_the_axes_two_spaces_share():
    eye = torch.eye(6).reshape(6, 1, 2, 3)
    mix = torch.linalg.qr(torch.randn(2, 2, generator=torch.Generator().manual_seed(0)))[0]
    turned = torch.einsum("ij,jchw->ichw", mix, eye[:2])
    assert jac.subspace_overlap(eye[:2], turned) == pytest.approx(1)
    assert jac.subspace_overlap(eye[:2], eye[1:3]) == pytest.approx(0.5)
    assert jac.subspace_overlap(eye[:2], eye[2:]) == pytest.approx(0)


def test_the_operator_of_scipy_is_j():
    """Columns, rows, and singular values by ARPACK, of a map that is not symmetric."""
    y = torch.rand(1, 2, 6, 6, generator=make_generator(0, "operator"), dtype=torch.float64)

    def f(y, sigma=None):
        return torch.tanh(y) * 0.8 + 0.3 * y.roll(1, -1) - 0.1 * y.flip(1)

    J = jac.jacobian_matrix(f, y)
    products = jac.linearize(f, y)
    A = products.operator()
    assert (A.shape, A.dtype, products.way) == ((72, 72), np.float64, "torch.func")
    eye = np.eye(72)
    np.testing.assert_allclose(A @ eye, J, atol=1e-12)
    np.testing.assert_allclose(A.T @ eye, J.T, atol=1e-12)
    np.testing.assert_allclose(A @ eye[3], J[:, 3], atol=1e-12)
    s = np.sort(svds(A, 4, return_singular_vectors=False, rng=0))[::-1]
    ours = jac.top_singular_values(f, y, num=4, tol=1e-8).s
    np.testing.assert_allclose(ours, s, atol=1e-7)
