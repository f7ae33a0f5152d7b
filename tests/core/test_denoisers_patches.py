"""Patch posteriors against brute force, their limits, and the memorizer."""

import math

import pytest
import torch

from gahb_core import data, denoisers, jacobian, noise
from gahb_core.denoisers import patches, streaming

NUM, SIDE = 7, 6
KINDS = {
    "local": lambda train, k: denoisers.local_denoiser(train, k),
    "equivariant": lambda train, k: denoisers.equivariant_denoiser(train, k),
    "circular": lambda train, k: denoisers.equivariant_denoiser(train, k, circular=True),
    "crops": lambda train, k: denoisers.crop_denoiser(train, k),
}


def draw(*shape, seed=0):
    return torch.rand(shape, generator=noise.make_generator(seed, "test"), dtype=torch.float64)


TRAIN, Y = draw(NUM, 1, SIDE, SIDE), draw(2, 1, SIDE, SIDE, seed=1)


def same(a, b, tol=1e-10):
    torch.testing.assert_close(a, b, rtol=tol, atol=tol)


def window(image, r, c, k, wrap=False):
    """Return the k × k window about a pixel of `image` (H, W), pixel by pixel, as a list."""
    size = len(image)
    values = []
    for i in range(r - k // 2, r + k // 2 + 1):
        for j in range(c - k // 2, c + k // 2 + 1):
            inside = wrap or (0 <= i < size and 0 <= j < size)
            values.append(float(image[i % size, j % size]) if inside else 0.0)
    return torch.tensor(values, dtype=torch.float64)


def places(kind, r, c, k, size):
    """Return where the patches that (r, c) is compared with have their centres."""
    inner = range(k // 2, size - k // 2)
    if kind == "local":
        return [(r, c)]
    if kind == "circular" or (r in inner and c in inner):
        return [(i, j) for i in inner for j in inner]
    if c in inner:
        return [(r, j) for j in inner]
    return [(i, c) for i in inner] if r in inner else [(r, c)]


def brute(kind, train, y, sigma, k):
    """Return x̂ of one image, and the weights of each pixel, by three loops."""
    size = y.shape[-1]
    out, weights = torch.empty(size, size, dtype=torch.float64), {}
    for r in range(size):
        for c in range(size):
            here = window(y[0], r, c, k, kind == "circular")
            where = places(kind, r, c, k, size)
            bank = torch.stack([window(x[0], i, j, k) for x in train for i, j in where])
            w = torch.softmax(-(bank - here).square().sum(1) / (2 * sigma**2), 0)
            out[r, c], weights[r, c] = w @ bank[:, k**2 // 2], w
    return out, weights


@pytest.mark.parametrize("sigma", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("kind", ["local", "equivariant", "circular"])
def test_centres_against_brute_force(kind, k, sigma):
    f = KINDS[kind](TRAIN, k)
    for i in range(len(Y)):
        expected, weights = brute(kind, TRAIN, Y[i], sigma, k)
        same(f(Y, sigma)[i, 0], expected)
        entropy = [-float(w.xlogy(w).sum()) for w in weights.values()]
        same(f.perplexity(Y, sigma)[i].log(), torch.tensor(entropy, dtype=torch.float64), 1e-8)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_crops_against_brute_force(k):
    sums, counts = torch.zeros(SIDE, SIDE).double(), torch.zeros(SIDE, SIDE).double()
    for r in range(SIDE - k + 1):
        for c in range(SIDE - k + 1):
            at = (slice(r, r + k), slice(c, c + k))
            bank, here = TRAIN[:, 0][:, *at], Y[0, 0][at]
            w = torch.softmax(-(bank - here).square().sum((1, 2)) / (2 * 0.3**2), 0)
            sums[at] += torch.einsum("n,nij->ij", w, bank)
            counts[at] += 1
    same(denoisers.crop_denoiser(TRAIN, k)(Y, 0.3)[0, 0], sums / counts)


@pytest.mark.parametrize("kind", KINDS)
def test_another_shape_is_refused(kind):
    with pytest.raises(ValueError, match="image shape of the training set"):
        KINDS[kind](TRAIN, 3)(Y[..., 1:], 0.3)


@pytest.mark.parametrize("sigma", [0.1, 0.4])
@pytest.mark.parametrize("kind", KINDS)
def test_derivative_is_the_covariance_of_patches(kind, sigma):
    """The closed-form rows, `jacobian`'s products and central differences agree."""
    f, y, step = KINDS[kind](TRAIN, 3), Y[:1], 1e-5
    unit = torch.eye(SIDE**2).double().reshape(-1, 1, SIDE, SIDE)
    ends = [f(y + sign * step * unit, sigma).flatten(1) for sign in (1, -1)]
    differences = ((ends[0] - ends[1]) / (2 * step)).T
    same(f.rows(y, sigma)[0], differences, 1e-6)
    same(jacobian.jacobian_matrix(f, y, sigma), f.rows(y, sigma)[0])
    v = draw(3, 1, SIDE, SIDE, seed=2)
    same(jacobian.linearize(f, y, sigma).push(v).flatten(1), v.flatten(1) @ f.rows(y, sigma)[0].T)


def test_rows_by_hand():
    """Cov_w(u_centre, u)/σ² of one pixel, from brute-force weights."""
    sigma, r, c = 0.3, 2, 3
    _, weights = brute("equivariant", TRAIN, Y[0], sigma, 3)
    bank = [window(x[0], i, j, 3) for x in TRAIN for i, j in places("equivariant", r, c, 3, SIDE)]
    bank, w = torch.stack(bank), weights[r, c]
    away = bank - w @ bank
    expected = (w * away[:, 4]) @ away / sigma**2
    row = denoisers.equivariant_denoiser(TRAIN, 3).rows(Y[:1], sigma)[0, r * SIDE + c]
    same(row.reshape(SIDE, SIDE)[1:4, 2:5].flatten(), expected)
    assert int((row != 0).sum()) <= 9  # and nothing outside the window


def test_several_channels():
    train, y = draw(5, 3, SIDE, SIDE, seed=3), draw(1, 3, SIDE, SIDE, seed=4)
    found = denoisers.local_denoiser(train, 2 * SIDE - 1)(y, 0.5)
    same(found, denoisers.empirical_denoiser(train)(y, 0.5))
    f = denoisers.equivariant_denoiser(train, 3)
    same(jacobian.jacobian_matrix(f, y, 0.5), f.rows(y, 0.5)[0])


@pytest.mark.parametrize("kind", ["local", "equivariant", "circular"])
def test_without_noise_each_pixel_is_the_centre_of_the_nearest_patch(kind):
    found = KINDS[kind](TRAIN, 3)(Y[:1], 1e-3)[0, 0]
    for r, c in ((0, 0), (0, 3), (2, 2), (5, 1), (4, 5)):
        here = window(Y[0, 0], r, c, 3, kind == "circular")
        bank = [window(x[0], i, j, 3) for x in TRAIN for i, j in places(kind, r, c, 3, SIDE)]
        nearest = min(bank, key=lambda u: float((u - here).square().sum()))
        assert abs(float(found[r, c]) - float(nearest[4])) < 1e-6


def test_black_and_white_give_the_majority_of_the_window():
    both = torch.stack([torch.zeros(1, SIDE, SIDE), torch.ones(1, SIDE, SIDE)]).double()
    y = (draw(1, 1, SIDE, SIDE, seed=5) > 0.5).double()
    found = denoisers.equivariant_denoiser(both, 3)(y, 0.05)[0, 0]
    majority = torch.nn.functional.avg_pool2d(y, 3, 1)[0, 0] > 0.5
    same(found[1:-1, 1:-1], majority.double(), 1e-6)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_windows_that_see_all_make_the_memorizer(sigma):
    expected = denoisers.empirical_denoiser(TRAIN)(Y, sigma)
    same(denoisers.local_denoiser(TRAIN, 2 * SIDE - 1)(Y, sigma), expected)
    same(denoisers.equivariant_denoiser(TRAIN, 2 * SIDE + 1)(Y, sigma), expected)
    same(denoisers.crop_denoiser(TRAIN, SIDE)(Y, sigma), expected)


def test_equivariant_is_local_from_the_size_of_the_image_on():
    local, both = denoisers.local_denoiser(TRAIN, 7), denoisers.equivariant_denoiser(TRAIN, 7)
    same(both(Y, 0.3), local(Y, 0.3))


def test_equivariant_is_local_where_each_place_has_its_own_dictionary():
    f, local = denoisers.equivariant_denoiser(TRAIN, 3), denoisers.local_denoiser(TRAIN, 3)
    every = torch.arange(SIDE**2)[:, None]
    own = patches.Patches(TRAIN, f.layout._replace(groups=(denoisers.Group(every, every),)))
    same(own(Y, 0.3), local(Y, 0.3))
    corner = (..., [0, 0, -1, -1], [0, -1, 0, -1])
    same(f(Y, 0.3)[corner], local(Y, 0.3)[corner])
    assert float((f(Y, 0.3) - local(Y, 0.3)).abs().max()) > 0.01


def test_circular_machine_follows_circular_shifts():
    f = denoisers.equivariant_denoiser(TRAIN, 3, circular=True)
    same(f(Y.roll((2, 1), (-2, -1)), 0.3), f(Y, 0.3).roll((2, 1), (-2, -1)))


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_do_not_change_the_result(kind, monkeypatch):
    whole = KINDS[kind](TRAIN, 3)
    expected, rows = whole(Y, 0.2), whole.rows(Y, 0.2)
    monkeypatch.setattr(patches, "MOST", 1)  # one training image at a time
    monkeypatch.setattr(patches, "QUERIES", 3)
    monkeypatch.setattr(patches, "Pool", lambda u: streaming.Pool(u, leaf=5))
    f = KINDS[kind](TRAIN, 3)
    same(f(Y, 0.2), expected, 1e-12)
    same(f.rows(Y, 0.2), rows, 1e-9)


def test_equal_patches_are_merged_with_their_counts():
    u = draw(20, 4)[torch.randint(20, (300,), generator=noise.make_generator(0, "pick"))]
    distinct, count = streaming.merge_equal(u)
    expected, expected_count = u.unique(dim=0, return_counts=True)
    order = torch.tensor(sorted(range(len(distinct)), key=lambda i: distinct[i].tolist()))
    assert torch.equal(distinct[order], expected)
    assert torch.equal(count[order], expected_count)


def test_what_is_skipped_is_below_its_bound():
    """Twenty nats: the result moves by less than leaves · e^−20, as stated."""
    train = data.load_images("fashion", "A", 40).double()
    y = noise.add_noise(data.load_images("fashion", "test", 1), 0.1, seed=0).double()
    f = denoisers.equivariant_denoiser(train, 5)
    pool = f.pools[0]
    bounds = pool.bounds(
        (f.windows.read(y) - f.origin)[0, f.layout.groups[0].queries[0]], torch.ones(1)
    )
    assert bounds.shape == (28 * 28, len(pool.leaves))
    found = f(y, 0.1)
    pool.skip = math.inf
    assert 0 < float((found - f(y, 0.1)).abs().max()) < len(pool.leaves) * math.exp(-20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: denoisers.local_denoiser(TRAIN, 4), "size must be odd, not 4"),
        (
            lambda: denoisers.equivariant_denoiser(TRAIN[0], 3),
            r"train must be of shape \(B, C, H, W",
        ),
        (lambda: denoisers.equivariant_denoiser(TRAIN, 7, True), "at most 6 where circular, not 7"),
        (lambda: denoisers.crop_denoiser(TRAIN, 7), "size must be at most 6, not 7"),
        (lambda: denoisers.crop_denoiser(TRAIN, 0), "size must be at least 1, not 0"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
