import pytest
import torch

from gahb_core import denoisers, images
from gahb_core.images.c_alpha import coverage

SIZE = 8


@pytest.fixture(scope="module")
def parts():
    return images.make_c_alpha_parts(400, 2.0, SIZE)


@pytest.fixture(scope="module")
def regions(parts):
    return denoisers.fit_regions(parts)


def test_moments_are_those_of_the_images(parts, regions):
    below, above = parts.below.double().flatten(1), parts.above.double().flatten(1)
    mean = (below.mean() + above.mean()) / 2
    both = torch.cat([below, above]) - mean
    # averaged over all shifts of the torus, which the empirical matrix is not
    torch.testing.assert_close(regions.auto.diagonal().mean(), both.square().mean())
    assert abs(regions.mean - float(mean)) < 1e-12
    crossed = ((below - mean) * (above - mean)).mean()
    torch.testing.assert_close(regions.cross.diagonal().mean(), crossed)
    spread = (parts.contour.double() - regions.row).square().mean()
    torch.testing.assert_close(regions.contour.diagonal().mean(), spread)
    plain = both.T @ both / len(both)
    assert (regions.auto - plain).norm() < 0.2 * plain.norm()


def test_without_a_contour_it_is_the_wiener_filter(parts, regions):
    f = denoisers.region_denoiser(torch.ones(1, SIZE, SIZE), regions)
    power = torch.fft.fft2(regions.auto[0].reshape(SIZE, SIZE)).real
    y = parts.below[:3].double()
    mean = regions.mean
    wanted = mean + torch.fft.ifft2(power / (power + 0.01) * torch.fft.fft2(y - mean)).real
    torch.testing.assert_close(f(y, 0.1), wanted, rtol=0, atol=1e-8)


def test_tangents_are_the_differences_of_the_image(parts):
    contour, step = parts.contour[:1].double(), 1e-6
    below, above = parts.below[0].double(), parts.above[0].double()
    G = denoisers.contour_tangents(coverage(contour, SIZE)[0], below, above)
    for column in range(SIZE):
        shift = step * torch.nn.functional.one_hot(torch.tensor(column), SIZE)
        moved = coverage(contour + shift, SIZE)[0] - coverage(contour - shift, SIZE)[0]
        wanted = (moved * (below - above)).flatten() / (2 * step)
        torch.testing.assert_close(G[column], wanted, rtol=0, atol=1e-7)


def test_errors_are_those_expected_and_finding_costs(parts, regions):
    sigma, told, finds, wanted = 0.05, [], [], []
    for i in range(60):
        x = parts.x[i : i + 1].double()
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(i)).double()
        f = denoisers.region_denoiser(parts.mask[i], regions)
        g = denoisers.contour_denoiser(parts, i, regions)
        told.append((f(x + sigma * noise, sigma) - x).square().sum())
        finds.append((g(x + sigma * noise, sigma) - x).square().sum())
        wanted.append(f.mmse(sigma))
    told, finds, wanted = (float(torch.tensor(v).mean()) for v in (told, finds, wanted))
    assert told == pytest.approx(wanted, rel=0.1)
    assert told < finds < 2 * told


def test_covariances_have_the_variances_of_the_denoisers(parts, regions):
    for i in (0, 7):
        told = denoisers.region_covariance(parts.mask[i], regions)
        finds = denoisers.contour_covariance(parts, i, regions)
        wanted = denoisers.region_denoiser(parts.mask[i], regions).variances
        torch.testing.assert_close(torch.linalg.eigvalsh(told), wanted, rtol=0, atol=1e-12)
        wanted = denoisers.contour_denoiser(parts, i, regions).variances
        torch.testing.assert_close(torch.linalg.eigvalsh(finds), wanted, rtol=0, atol=1e-12)
        assert finds.trace() > told.trace()  # what must be found varies
