"""The ray: one image at every intensity, a manifold of one dimension."""

from torch import Tensor

from gahb_core.checks import check_count, check_floating, check_points
from gahb_core.noise import sample_uniform


def make_ray_parameters(num: int, seed: int = 0, start: int = 0) -> Tensor:
    """Return the intensities (num, 1), uniform on [0, 1], each from its own stream."""
    return sample_uniform((check_count(num, "num", 0), 1), seed, start, key="ray")


def draw_ray(parameters: Tensor, image: Tensor) -> Tensor:
    """Return x = a · image, (N, 1, S, S), for intensities a (N, 1) and one image (1, S, S).

    Raises:
        ValueError: where `image` is not one image (1, S, S).
    """
    check_points(parameters, (1,), "parameters")
    if check_floating(image, "image").ndim != 3:
        raise ValueError(f"image must be one image (1, S, S), not of shape {tuple(image.shape)}")
    return parameters[:, :, None, None] * image.to(parameters)


def make_ray(image: Tensor, num: int, seed: int = 0, start: int = 0) -> Tensor:
    """Return `image` (1, S, S) at `num` random intensities, (num, 1, S, S), in its dtype."""
    parameters = make_ray_parameters(num, seed, start)
    return draw_ray(parameters.to(check_floating(image, "image")), image)
