"""The authors' networks: fetched from a server on this machine, and read from their state dicts."""

import hashlib
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import pywt
import safetensors.torch
import torch
from extras import needs_book

from gahb_core import networks, training
from gahb_core.data import MissingData, data_folder
from gahb_core.metrics.pairs import psnr
from gahb_core.multiscale.haar import haar_split
from gahb_core.networks.models import BFCNN, SPATIAL_LAYERS, UNet
from gahb_core.networks.weights import initialize
from gahb_core.noise import add_noise
from gahb_core.training import authors

NAMES = ("flat__RF_5x5", "multi_scale__RF_5x5_scale_0")
PUBLISHED = data_folder() / authors.FOLDER
here = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason="the authors' networks are not in GAHB_DATA"
)


def make_content(seed):
    """Return the bytes of a small state dict with the authors' names."""
    content = io.BytesIO()
    torch.save(initialize(BFCNN(4, 4), seed=seed).state_dict(), content)
    return content.getvalue()


class Server:
    """Serves `files` (path → bytes) on this machine; `cut` bytes fewer than it promises."""

    def __init__(self):
        self.files, self.asked, self.cut = {}, [], 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                content = server.files.get(self.path)
                self.send_response(404 if content is None else 200)
                content = content or b""
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) - server.cut])

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of two small networks in place of the published ones, and an empty data folder."""
    server = Server()
    contents = {name: make_content(seed) for seed, name in enumerate(NAMES)}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setenv("GAHB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(authors, "SHA256", sums)
    monkeypatch.setattr(authors, "SOURCE", f"http://127.0.0.1:{server.http.server_port}")
    path = {name: authors.find_address(name).removeprefix(authors.SOURCE) for name in NAMES}
    server.files = {path[name]: contents[name] for name in NAMES}
    yield server
    server.stop()


def left(tmp_path):
    """Return the names of all files in the data folder."""
    return sorted(path.name for path in (tmp_path / "data").rglob("*.*"))


# --- fetching ---------------------------------------------------------------------------------


def test_published_networks_come_once(server, tmp_path):
    said = []
    folder = authors.fetch_authors(say=said.append)
    assert folder == tmp_path / "data" / "authors_celeba160"
    assert [(folder / f"{name}.pt").read_bytes() for name in NAMES] == list(server.files.values())
    assert left(tmp_path) == [f"{name}.pt" for name in NAMES]
    assert said == [f"authors: {name}.pt, {k} of 2" for k, name in enumerate(NAMES, 1)]
    assert server.asked == list(server.files)
    for name in (NAMES[1], f"{NAMES[1]}.pt"):
        net = authors.load_authors(name)
        expected = initialize(BFCNN(4, 4), seed=1).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in net.state_dict().items())
        assert not net.training
    authors.fetch_authors(say=said.append)
    assert len(server.asked) == len(said) == 2
    (folder / f"{NAMES[0]}.pt").unlink()
    authors.fetch_authors(say=said.append)
    assert server.asked[2:] == [next(iter(server.files))]
    assert said[2:] == [f"authors: {NAMES[0]}.pt, 1 of 1"]


def test_a_foreign_download_is_refused_and_leaves_nothing(server, tmp_path):
    address = authors.find_address(NAMES[1])
    server.files[address.removeprefix(authors.SOURCE)] = make_content(seed=7)
    with pytest.raises(ValueError, match=r"_scale_0/model.pt: the SHA-256 must be .*by hand") as e:
        authors.fetch_authors(say=str)
    assert str(e.value).startswith(address)
    assert left(tmp_path) == [f"{NAMES[0]}.pt"]  # the one that came before stays


@pytest.mark.parametrize("cut", [1, 100])
def test_a_cut_download_is_refused_and_leaves_nothing(server, tmp_path, cut):
    server.cut = cut
    with pytest.raises(MissingData, match=f"could not be downloaded .*{cut} more expected"):
        authors.fetch_authors(say=str)
    assert left(tmp_path) == []


def test_what_cannot_be_downloaded_says_what_to_do_by_hand(server, tmp_path, monkeypatch):
    server.files.clear()
    by_hand = f"bring it by hand to {tmp_path / 'data' / authors.FOLDER / NAMES[0]}.pt"
    with pytest.raises(MissingData, match="could not be downloaded .*404") as error:
        authors.fetch_authors(say=str)
    assert str(error.value).endswith(by_hand)
    monkeypatch.setattr(authors, "SOURCE", "http://127.0.0.1:1")  # nobody listens
    with pytest.raises(MissingData, match="could not be downloaded .*refused") as error:
        authors.fetch_authors(say=str)
    assert str(error.value).endswith(by_hand)
    assert left(tmp_path) == []


@pytest.mark.parametrize("content", [b"", make_content(seed=7), make_content(seed=1)[:-1]])
def test_a_wrong_file_is_refused_by_name(server, content):
    path = authors.fetch_authors(say=str) / f"{NAMES[1]}.pt"
    path.write_bytes(content)
    for use in (lambda: authors.fetch_authors(say=str), lambda: authors.load_authors(NAMES[1])):
        with pytest.raises(ValueError, match="delete it and run 'gahb fetch authors'") as error:
            use()
        assert str(error.value).startswith(f"{path}: the SHA-256 must be ")
    assert path.read_bytes() == content
    assert len(server.asked) == 2
    path.unlink()
    authors.fetch_authors(say=str)
    assert authors.load_authors(NAMES[1]).conv_layers[0].weight.shape == (4, 1, 3, 3)


def test_a_missing_network_names_the_command(server, tmp_path):
    with pytest.raises(MissingData, match="'gahb fetch authors' downloads all") as error:
        authors.load_authors(NAMES[0])
    assert str(tmp_path / "data" / authors.FOLDER / f"{NAMES[0]}.pt") in str(error.value)
    with pytest.raises(ValueError, match=r"name must be one of flat__RF_5x5, .*not 'flat__RF_6x6"):
        authors.load_authors("flat__RF_6x6.pt")


@needs_book
def test_a_page_that_lacks_a_published_network_names_the_command(server, tmp_path):
    from gahb_book.places import Places
    from gahb_book.run.missing import find_missing
    from gahb_book.run.spec import Page

    for name, named in ((NAMES[0], True), ("other", False)):
        page = Page("a", Path("a.ipynb"), files=(f"{authors.FOLDER}/{name}.pt",))
        missing = find_missing(page, Places(tmp_path))
        where = f"the file {authors.FOLDER}/{name}.pt is not in {tmp_path / 'data'}: "
        assert missing.startswith(where)
        assert ("'gahb fetch authors' downloads it" in missing) == named
    authors.fetch_authors(say=str)
    page = page._replace(files=(f"{authors.FOLDER}/{NAMES[0]}.pt",))
    assert find_missing(page, Places(tmp_path)) is None


@needs_book
def test_fetch_of_the_command_line(server, tmp_path, capsys):
    from gahb_book import cli

    assert cli.main(["fetch", "authors"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == f"authors: {tmp_path / 'data' / authors.FOLDER}"
    assert len(printed) == 3
    assert cli.main(["fetch", "authors", "--size", "80"]) == 2
    assert "gahb: size must not be given for 'authors'" in capsys.readouterr().err


def test_addresses_are_those_of_the_public_repository():
    assert authors.find_address("multi_scale__RF_40x40_low") == (
        "https://github.com/LabForComputationalVision/local-probability-models-of-images/raw/"
        "9c5210e2c225d296ca54f32e40f18c83f585f9e3/denoisers/multi_scale/celebA_160x160_gray/"
        "noise_range_0to255_RF_40x40_low/model.pt"
    )
    assert "/flat/celebA_160x160_gray/noise_range_0to255_RF_9x9/model.pt" in (
        authors.find_address("flat__RF_9x9")
    )
    assert len({authors.find_address(name) for name in authors.SHA256}) == 16


# --- reading ----------------------------------------------------------------------------------


def test_wrong_keys_shapes_and_values_are_named():
    net = UNet(2, base=4)
    good = net.state_dict()
    key = "encoder.0.0.weight"
    with pytest.raises(ValueError, match=r"keys missing \['encoder.0.0.weight'\]"):
        networks.load_weights(net, {k: v for k, v in good.items() if k != key}, "here")
    with pytest.raises(ValueError, match=r"keys not known \['extra'\]"):
        networks.load_weights(net, good | {"extra": torch.zeros(1)}, "here")
    with pytest.raises(ValueError, match=r"encoder.0.0.weight must have shape \(4, 1, 3, 3\)"):
        networks.load_weights(net, good | {key: torch.zeros(4, 1, 5, 5)}, "here")
    with pytest.raises(ValueError, match="must be finite"):
        networks.load_weights(net, good | {key: torch.full((4, 1, 3, 3), torch.inf)}, "here")


@pytest.mark.parametrize(
    "make",
    [
        lambda: UNet(2, base=4),
        lambda: BFCNN(7, 8),
        lambda: BFCNN(21, 4, channels_in=4, channels_out=3, spatial_layers=SPATIAL_LAYERS[13]),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_with_the_authors_names_come_in(make, prefix, tmp_path):
    net = initialize(make(), seed=3).eval()
    torch.save({prefix + k: v for k, v in net.state_dict().items()}, tmp_path / "net.pt")
    found = authors.import_authors(tmp_path / "net.pt")
    assert {k: v.shape for k, v in found.state_dict().items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    assert all(torch.equal(v, net.state_dict()[k]) for k, v in found.state_dict().items())
    assert not found.training


def test_other_files_are_not_taken_for_the_authors(tmp_path):
    cases = {
        "list.pt": lambda p: torch.save([1, 2], p),
        "text.pt": lambda p: p.write_text("hello"),
        "empty.pt": lambda p: p.write_bytes(b""),
        "weights.pt": lambda p: safetensors.torch.save_file({"a": torch.zeros(2)}, p),
    }
    for name, write in cases.items():
        write(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} must be a state dict of tensors"):
            authors.import_authors(tmp_path / name)
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match="must have conv_layers.0.weight or encoder.0.0.weight"):
        authors.import_authors(tmp_path / "foreign.pt")
    state = BFCNN(4, 4).state_dict()
    del state["BN_layers.1.gammas"]
    torch.save(state, tmp_path / "holes.pt")
    with pytest.raises(ValueError, match=r"keys missing \['BN_layers.1.gammas'\]"):
        authors.import_authors(tmp_path / "holes.pt")


UNET = UNet(2, base=2).state_dict()
CNN = BFCNN(4, 4).state_dict()
without = lambda state, *keys: {k: v for k, v in state.items() if k not in keys}  # noqa: E731


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {0: torch.zeros(2)},
            "must be a state dict of tensors and nothing else, but 0 names a Ten",
        ),
        ({"state_dict": dict(CNN)}, "nothing else, but 'state_dict' names a (dict|OrderedDict)"),
        ({"epoch": 3}, "nothing else, but 'epoch' names a int"),
        ([CNN], "nothing else, not of type list"),
        (CNN | {"conv_layers.1.weight": torch.tensor(1.0)}, r"conv_layers.1.weight .*, not \(\)"),
        (CNN | {"conv_layers.0.weight": torch.zeros(4)}, r"conv_layers.0.weight .*, not \(4,\)"),
        (without(CNN, "conv_layers.3.weight"), r"keys not known \['BN_layers.1.gammas'"),
        (without(CNN, "conv_layers.2.weight"), r"keys missing \['conv_layers.2.weight'\]"),
        ({"conv_layers.0.weight": torch.zeros(4, 1, 3, 3)}, r"missing \['conv_layers.1.weight'\]"),
        (without(UNET, "mid_block.0.weight"), r"keys missing \['mid_block.0.weight'\]"),
        (without(UNET, "encoder.1.0.weight"), "keys not known .*"),
        (
            UNET | {"encoder.7.0.weight": torch.zeros(2, 2, 3, 3)},
            r"missing \['encoder.2.0.weight'\]",
        ),
        (
            UNET | {"encoder.x.0.weight": torch.zeros(2, 2, 3, 3)},
            r"missing \['encoder.2.0.weight'\]",
        ),
        (CNN | {"BN_layers.0.running_sd": torch.zeros(1, 4, 1, 1)}, "running_sd must be positive"),
        (
            CNN | {"conv_layers.0.weight": torch.zeros(4, 1, 3, 3).long()},
            "conv_layers.0.weight must be floating point, not torch.int64",
        ),
    ],
)
def test_what_is_wrong_with_a_state_dict_is_named(state, message, tmp_path):
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match=message) as error:
        authors.import_authors(tmp_path / "odd.pt")
    assert str(error.value).startswith(str(tmp_path / "odd.pt"))
    assert "weights_only" not in str(error.value)  # torch's advice is to load it unsafely


def test_a_state_dict_of_the_time_before_zip_files_comes_in(tmp_path):
    torch.save(CNN, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = authors.import_authors(tmp_path / "old.pt").state_dict()
    assert all(torch.equal(v, CNN[k]) for k, v in found.items())


@pytest.mark.parametrize("seed", range(60))
def test_damaged_state_dicts_are_refused_or_whole(seed, tmp_path):
    """Cut, zeroed or flipped anywhere: a ValueError that names the file, or the same weights."""
    whole, generator = bytearray(make_content(seed=1)), torch.Generator().manual_seed(seed)
    place = int(torch.randint(len(whole), (1,), generator=generator))
    if seed % 3 == 0:
        whole = whole[:place]
    elif seed % 3 == 1:
        whole[place : place + 50] = bytes(50)
    else:
        whole[place] ^= 1 << seed % 8
    path = tmp_path / "damaged.pt"
    path.write_bytes(whole)
    try:
        net = authors.import_authors(path)
    except ValueError as error:
        message = str(error)
        assert message.startswith(f"{path}")
    else:
        expected = initialize(BFCNN(4, 4), seed=1).state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in net.state_dict().items())


@here
@pytest.mark.parametrize("name", authors.SHA256)
def test_a_published_network_loads_and_is_homogeneous(name):
    net = authors.load_authors(name)
    channels = net.conv_layers[0].weight.shape[1]
    y = torch.rand(1, channels, 40, 40, generator=torch.Generator().manual_seed(0))
    scaled = net(3.7 * y)
    assert (scaled - 3.7 * net(y)).abs().max() < 1e-5 * scaled.abs().max()


@here
def test_published_networks_come_as_denoisers_by_name():
    low, *details = (f"multi_scale__RF_{n}" for n in ("40x40_low", "9x9_scale_0", "9x9_scale_1"))
    f = training.load_multiscale(low, details)
    y = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    bands = haar_split(y)
    joint = torch.cat([bands.low, bands.details], 1)
    expected = bands.details - authors.load_authors(details[0])(joint)
    torch.testing.assert_close(f.details[0](bands.details, None, bands.low), expected)
    small = haar_split(bands.low).low
    torch.testing.assert_close(f.low(small), small - authors.load_authors(low)(small))
    flat = training.load_denoiser("flat__RF_9x9")
    torch.testing.assert_close(flat(y), y - authors.load_authors("flat__RF_9x9")(y))


# --- the networks of 2021 -----------------------------------------------------------------------

OF_2021 = data_folder() / authors.FOLDER_2021
here_2021 = pytest.mark.skipif(
    not OF_2021.is_dir(), reason="the authors' networks of 2021 are not in GAHB_DATA"
)


def save_as_in_2021(net, path):
    """Write the weights of a BF-CNN under the names of 2021."""
    state = {}
    for name, value in net.state_dict().items():
        layer, i, what = name.split(".")
        state[name if layer == "conv_layers" else f"{what}.{i}"] = value
    torch.save(state, path)


def test_a_network_of_2021_has_a_relu_after_its_first_convolution(tmp_path):
    net = initialize(BFCNN(3, 4), seed=0).eval()
    torch.nn.init.normal_(net.conv_layers[-1].weight)
    save_as_in_2021(net, tmp_path / "net.pt")
    y = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    first, hidden, last = net.conv_layers
    by_hand = last(net.BN_layers[0](hidden(first(y).relu())).relu())
    found = authors.import_authors(tmp_path / "net.pt")
    torch.testing.assert_close(found(y), by_hand)
    torch.testing.assert_close(networks.fold_norm(found)(y), by_hand)
    assert (net(y) - by_hand).abs().max() > 0.1  # what it would be without


def test_a_missing_or_foreign_network_of_2021_says_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setenv("GAHB_DATA", str(tmp_path))
    with pytest.raises(MissingData, match="bring its model.pt there from github.com/Lab"):
        authors.load_authors("mnist_gray")
    path = tmp_path / authors.FOLDER_2021 / "mnist_gray.pt"
    path.parent.mkdir()
    path.write_bytes(make_content(seed=0))
    with pytest.raises(ValueError, match="SHA-256 must be 51003d84.*delete it and bring it anew"):
        authors.load_authors("mnist_gray.pt")


def draw_digit():
    """Return a zero (1, 1, 28, 28): an ellipse of a pen 3 pixels wide, white on black."""
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    ring = ((row - 13.5) / 1.3).hypot(column - 13.5) - 6
    return (2 - ring.abs()).clamp(0, 1)[None, None]


def photograph():
    return torch.tensor(pywt.data.camera()[100:228, 150:278] / 255).float()[None, None]


@here_2021
@pytest.mark.parametrize(
    ("name", "make", "least"),
    [("BSD400_gray", photograph, (31.5, 29, 26)), ("mnist_gray", draw_digit, (31.5, 29, 24))],
)
@torch.no_grad()
def test_networks_of_2021_denoise(name, make, least):
    """Without the ReLU they return about what they are given, 24.6 dB at σ = 15/255."""
    f, x = training.load_denoiser(name), make()
    sigmas = (15 / 255, 25 / 255, 50 / 255)
    psnrs = [float(psnr(f(add_noise(x, sigma, seed=0)), x)) for sigma in sigmas]
    assert all(found > low for found, low in zip(psnrs, least, strict=True)), psnrs
    f.net.first_relu = False
    assert float(psnr(f(add_noise(x, 15 / 255, seed=0)), x)) < 25.5
