"""The rebuilt networks of other houses: against those houses where they are installed."""

import pytest
import torch

from gahb_core.foreign import DiffusersUNet, DnCNN, LinearSchedule
from gahb_core.noise import make_generator


def images(*shape):
    return torch.randn(shape, generator=make_generator(0, "foreign"))


def make_unet(**options):
    torch.manual_seed(0)
    return DiffusersUNet((16, 32, 64), **options).eval()


@pytest.mark.parametrize("attention", [(), (2,), (1, 2)])
def test_the_unet_is_that_of_diffusers(attention):
    diffusers = pytest.importorskip("diffusers", reason="diffusers (extra [compare]) is missing")
    ours = make_unet(attention=attention, num_layers=2, image_channels=3)
    down = ["AttnDownBlock2D" if b in attention else "DownBlock2D" for b in range(3)]
    up = ["AttnUpBlock2D" if b in attention else "UpBlock2D" for b in (2, 1, 0)]
    theirs = diffusers.UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, layers_per_block=2,
        block_out_channels=(16, 32, 64), down_block_types=down, up_block_types=up,
        norm_num_groups=8, attention_head_dim=8,
    ).eval()  # fmt: skip
    theirs.load_state_dict(ours.state_dict())
    x, t = images(2, 3, 16, 16), torch.tensor([3.0, 777.5])
    with torch.no_grad():
        assert torch.allclose(ours(x, t).sample, theirs(x, t).sample, atol=2e-5)


def test_the_schedule_is_that_of_ddpm():
    abar = LinearSchedule().alphas_cumprod
    assert len(abar) == 1000
    assert float(abar[0]) == pytest.approx(1 - 1e-4)
    assert float(abar[-1]) == pytest.approx(4.04e-5, rel=0.01)
    assert (abar.diff() < 0).all()


def test_attention_alone_sees_far():
    """A change of one pixel reaches the opposite corner through attention only."""
    x = images(1, 1, 64, 64).double()
    far = x.clone()
    far[0, 0, 0, 0] += 10
    net = make_unet().double()
    # group norms see the whole image, too: without them the fields of convolutions are left
    for module in net.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x
    with torch.no_grad():
        moved = (net(x, 10).sample - net(far, 10).sample)[0, 0, -1, -1].abs()
        net.mid_block.attentions[0].forward = lambda x: x
        for block in (*net.down_blocks, *net.up_blocks):
            for layer in getattr(block, "attentions", []):
                layer.forward = lambda x: x
        still = (net(x, 10).sample - net(far, 10).sample)[0, 0, -1, -1].abs()
    assert still < 1e-12 < 1e-9 < moved


def test_images_of_a_batch_do_not_meet_and_each_has_its_time():
    net, x = make_unet(), images(3, 1, 16, 16)
    t = torch.tensor([0.0, 10.5, 999.0])
    with torch.no_grad():
        whole = net(x, t).sample
        for i in range(3):
            assert torch.allclose(whole[i : i + 1], net(x[i : i + 1], t[i]).sample, atol=1e-5)
    assert not torch.allclose(net(x, 3.0).sample, net(x, 3.5).sample, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 2, 16, 16), (1, 1, 18, 16), (1, 16, 16)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"sample must be \(B, 1, H, W\), H and W divisible by 4"):
        make_unet()(images(*shape), 1)


def test_widths_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"channels must be divisible by groups and head_width"):
        DiffusersUNet((12, 32))


@pytest.mark.parametrize("norm", [True, False])
def test_dncnn_has_the_layers_of_its_paper(norm):
    net = DnCNN(17, 8, batch_norm=norm).eval()
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds.count("Conv2d") == 17
    assert kinds.count("BatchNorm2d") == 15 * norm
    y = images(2, 1, 12, 12)
    assert net(y).shape == y.shape
    assert torch.equal(net(y, 0.3), net(y))
    with torch.no_grad():
        zero = net(torch.zeros(1, 1, 12, 12))
    assert zero.abs().max() > 0  # there are biases


def test_dncnn_without_norms_is_that_of_deepinv():
    deepinv = pytest.importorskip("deepinv", reason="deepinv (extra [compare]) is missing")
    theirs = deepinv.models.DnCNN(1, 1, depth=5, nf=8, pretrained=None).eval()
    ours = DnCNN(5, 8, batch_norm=False).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=False)))
    y = images(1, 1, 12, 12)
    with torch.no_grad():
        assert torch.allclose(ours(y), theirs(y, 0.1), atol=1e-6)
