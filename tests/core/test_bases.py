"""Bases: Parseval, perfect reconstruction, and the numbers of independent implementations."""

import math

import numpy as np
import pytest
import pywt
import scipy.fft
import torch

from gahb_core import bases

LABELS = torch.zeros(16, 24, dtype=torch.long)
LABELS[:, 9:] = 1
LABELS[4:11, 12:20] = 2

ALL = {
    "pixels": bases.make_pixels((16, 24)),
    "cosine": bases.make_dct((16, 24)),
    "fourier": bases.make_fourier((16, 24)),
    "haar": bases.make_wavelet((16, 24), "haar", 3),
    "db2": bases.make_wavelet((16, 24)),
    "sym5": bases.make_wavelet((16, 24), "sym5", 3),
    "shape": bases.make_shape_harmonics(LABELS),
}


def images(num=3, channels=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(num, channels, 16, 24, generator=generator, dtype=dtype)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("channels", [1, 2])
def test_parseval_and_perfect_reconstruction(name, channels):
    x, basis = images(channels=channels), ALL[name]
    c = basis.analyze(x)
    assert c.shape == (3, channels * 16 * 24)
    torch.testing.assert_close(basis.synthesize(c), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(c @ c.T, x.flatten(1) @ x.flatten(1).T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_coefficients_are_inner_products_with_the_atoms(name):
    x, basis = images(), ALL[name]
    e = bases.atoms(basis, range(16 * 24)).flatten(1)
    torch.testing.assert_close(e @ e.T, torch.eye(len(e)).double(), rtol=0, atol=1e-10)
    torch.testing.assert_close(basis.analyze(x), x.flatten(1) @ e.T, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_dtype_is_kept_and_maps_are_differentiable(name):
    x, basis = images(dtype=torch.float32), ALL[name]
    assert basis.analyze(x).dtype == torch.float32
    _, push = torch.func.jvp(lambda v: basis.synthesize(basis.analyze(v)), (x,), (2 * x,))
    torch.testing.assert_close(push, 2 * x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("wavelet", "levels"), [("haar", 3), ("db2", 2), ("sym4", 2), ("coif1", 3)]
)
def test_wavelets_are_those_of_pywavelets(wavelet, levels):
    x = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    ours = bases.make_wavelet(64, wavelet, levels).analyze(x).reshape(2, 64, 64).numpy()
    for image, c in zip(x[:, 0].numpy(), ours, strict=True):
        theirs = pywt.wavedec2(image, wavelet, "periodization", levels)
        np.testing.assert_allclose(c, pywt.coeffs_to_array(theirs)[0], rtol=0, atol=1e-10)


def test_cosines_are_those_of_scipy():
    x = images()
    theirs = scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(ALL["cosine"].analyze(x).numpy(), theirs.reshape(3, -1), atol=1e-12)


def test_fourier_atoms_are_plane_waves():
    row, column = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    phase = 2 * math.pi * (3 * row / 16 - 5 * column / 24) - math.pi / 4
    wave = math.sqrt(2) * torch.cos(phase.double()) / math.sqrt(16 * 24)
    k = 3 * 24 + (24 - 5)
    torch.testing.assert_close(bases.atoms(ALL["fourier"], [k])[0, 0], wave, rtol=0, atol=1e-6)
    assert ALL["fourier"].frequency[k].item() == pytest.approx(math.hypot(3, 5))


def test_pairs_of_opposite_frequencies_hold_the_power_of_the_transform():
    x = images(1)
    c = ALL["fourier"].analyze(x).reshape(16, 24)
    power = np.abs(np.fft.fft2(x[0, 0].numpy(), norm="ortho")) ** 2
    pair = c[3, 5] ** 2 + c[-3, -5] ** 2
    assert pair.item() == pytest.approx(2 * power[3, 5], rel=1e-10)


def test_frequencies_of_wavelets_mark_the_levels():
    frequency = bases.make_wavelet(32, "haar", 3).frequency.reshape(32, 32)
    assert frequency.unique().tolist() == [0, 4, 8, 16]
    assert (frequency[:4, :4] == 0).all()
    assert (frequency[16:] == 16).all()
    assert (frequency[4:8, :8] == 4).all()
    assert (frequency[:8, 8:16] == 8).all()


def test_harmonics_of_a_rectangle_are_cosines():
    basis = bases.make_shape_harmonics(torch.zeros(3, 5, dtype=torch.bool))
    row, column = (4 * np.sin(np.pi * np.arange(n) / (2 * n)) ** 2 for n in (3, 5))
    expected = np.sort(np.sqrt(np.add.outer(row, column)).ravel())
    np.testing.assert_allclose(basis.frequency.numpy(), expected, atol=1e-10)


def test_harmonics_of_a_shape_stay_in_their_region_and_start_with_constants():
    e = bases.atoms(ALL["shape"], range(16 * 24)).flatten(1)
    inside = torch.stack([(LABELS.flatten() == k).double() for k in range(3)])
    support = (e.abs() > 1e-12).double() @ inside.T
    assert ((support > 0).sum(1) == 1).all()
    means = inside / inside.norm(dim=1, keepdim=True)
    torch.testing.assert_close(
        (e[:3] @ means.T).abs().sort(dim=1).values, torch.tensor([[0.0, 0, 1]] * 3).double()
    )
    assert ALL["shape"].frequency[:4].gt(1e-3).tolist() == [False, False, False, True]


def test_m_term_error_is_that_of_keeping_the_largest():
    x, basis = images(1), ALL["db2"]
    c = basis.analyze(x)[0]
    kept = torch.zeros_like(c)
    largest = c.abs().topk(20).indices
    kept[largest] = c[largest]
    gap = (basis.synthesize(kept[None]) - x).square().sum() / x.square().sum()
    error = bases.m_term_error(basis, x)
    assert error.shape == (1, 16 * 24 + 1)
    assert error[0, 20].item() == pytest.approx(gap.item(), rel=1e-10)
    assert (error[0, 0].item(), error[0, -1].item()) == (1, 0)


@pytest.mark.parametrize("make", [bases.make_fourier, bases.make_dct])
def test_exponent_of_images_of_known_spectrum(make):
    basis = make(64)
    generator = torch.Generator().manual_seed(2)
    c = torch.randn(40, 64 * 64, generator=generator, dtype=torch.float64)
    amplitude = basis.frequency.clamp(min=0.5) ** -1.25
    fit = bases.fit_spectrum(basis, basis.synthesize(c * amplitude))
    assert fit.exponent == pytest.approx(2.5, abs=0.05)
    assert fit.ci_low < fit.exponent < fit.ci_high < fit.ci_low + 0.1
    assert fit.frequency.shape == fit.power.shape == (len(fit.frequency),)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="wavelet must be an orthogonal one .* 'bior2.2'"):
        bases.make_wavelet(16, "bior2.2")
    with pytest.raises(ValueError, match="wavelet must be an orthogonal one .* 'nope'"):
        bases.make_wavelet(16, "nope")
    with pytest.raises(
        ValueError, match=r"size must be positive and divisible by 8, not \(20, 20\)"
    ):
        bases.make_wavelet(20, "haar", 3)
    with pytest.raises(
        ValueError, match=r"x must be of shape \(B, C, 16, 24\), not \(1, 1, 8, 8\)"
    ):
        ALL["db2"].analyze(torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"c must be of shape \(B, C·384\), not \(1, 5\)"):
        ALL["db2"].synthesize(torch.zeros(1, 5))
    with pytest.raises(ValueError, match="matrix must be orthogonal"):
        bases.make_matrix_basis("m", torch.ones(4, 4), (2, 2), torch.ones(4))
    with pytest.raises(ValueError, match=r"matrix must be of shape \(4, 4\)"):
        bases.make_matrix_basis("m", torch.ones(3, 3), (2, 2), torch.ones(4))
    with pytest.raises(ValueError, match="num must be even, not 5"):
        bases.wavelet_matrix("haar", 5)
    with pytest.raises(ValueError, match=r"labels must be of shape \(H, W\), not \(3,\)"):
        bases.make_shape_harmonics(torch.zeros(3).long())
    with pytest.raises(ValueError, match="x must hold at least 2 images"):
        bases.fit_spectrum(ALL["fourier"], images(1))
    with pytest.raises(ValueError, match="basis must have at least 3 frequencies"):
        bases.fit_spectrum(ALL["pixels"], images(3))


FLAGGED = [w for w in pywt.wavelist(kind="discrete") if pywt.Wavelet(w).orthogonal]


@pytest.mark.parametrize("wavelet", sorted({*FLAGGED} - {"dmey"}))
def test_wavelets_are_orthonormal_as_matrices(wavelet):
    basis = bases.make_wavelet(16, wavelet, 2)
    matrix = basis.analyze(torch.eye(256, dtype=torch.float64).reshape(-1, 1, 16, 16))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(256).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "wavelet", ["dmey", *sorted({*pywt.wavelist(kind="discrete")} - {*FLAGGED})]
)
def test_other_wavelets_are_refused_also_the_one_that_is_flagged(wavelet):
    with pytest.raises(ValueError, match="wavelet must be .*orthogonal"):
        bases.make_wavelet(16, wavelet, 2)


@pytest.mark.parametrize("name", ALL)
def test_no_image_has_no_coefficients(name):
    none = ALL[name].analyze(images(3)[:0])
    assert none.shape == (0, 16 * 24)
    assert ALL[name].synthesize(none).shape == (0, 1, 16, 24)
    assert bases.m_term_error(ALL[name], images(3)[:0]).shape == (0, 16 * 24 + 1)
    assert bases.atoms(ALL[name], []).shape == (0, 1, 16, 24)


NAN = float("nan")
EYE = torch.eye(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ALL["cosine"].analyze(images().long()), "x must be floating point"),
        (lambda: ALL["cosine"].synthesize(torch.ones(1, 384).long()), "c must be floating point"),
        (lambda: bases.atoms(ALL["cosine"], [384]), "index must be whole numbers in 0 … 383"),
        (lambda: bases.atoms(ALL["cosine"], [-1]), "index must be whole numbers in 0 … 383"),
        (lambda: bases.atoms(ALL["cosine"], [0.5]), "index must be whole numbers in 0 … 383"),
        (lambda: bases.make_dct(8.0), "size must be a whole number .* not 8.0"),
        (lambda: bases.make_pixels((8, 8, 8)), r"size must be one number or \(height, width\)"),
        (lambda: bases.dct_matrix(0), "num must be at least 1, not 0"),
        (lambda: bases.make_wavelet(16, "haar", -1), "levels must lie in 0 … 30, not -1"),
        (lambda: bases.make_wavelet(16, "haar", 1.5), "levels must be a whole number"),
        (lambda: bases.make_wavelet(16, "dmey", 1), "wavelet must be orthogonal, but for 'dmey'"),
        (lambda: bases.make_matrix_basis("m", NAN * EYE, (2, 2), EYE[0]), "matrix must be finite"),
        (
            lambda: bases.make_matrix_basis("m", EYE, (2, 2), NAN * EYE[0]),
            "frequency must be finite",
        ),
        (lambda: bases.make_matrix_basis("m", EYE, (2, 2), EYE), "frequency must have 4 values"),
        (lambda: bases.make_shape_harmonics(EYE), "labels must be whole numbers or booleans"),
        (lambda: bases.graph_laplacian(torch.ones(0, 3).long()), r"labels must be of shape \(H, W"),
        (lambda: bases.m_term_error(ALL["haar"], 0 * images()), "x must not be zero"),
        (lambda: bases.m_term_error(ALL["haar"], NAN * images()), "x must be finite"),
        (lambda: bases.fit_spectrum(ALL["fourier"], NAN * images()), "x must be finite"),
        (lambda: bases.fit_spectrum(ALL["fourier"], 0 * images()), "x must have power"),
        (
            lambda: bases.fit_spectrum(ALL["fourier"], images(), 0, 0),
            "num_bootstrap must be at least",
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
