"""`auto` leads to the arithmetic that a GPU user would choose, and says why where it does not."""

import threading
from types import SimpleNamespace

import pytest
import torch

from lvis import hardware
from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.kernels.tf32 import set_tf32, tf32
from lvis.solvers.build import settled, vae_of

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose torch has a CUDA device of a settable compute capability."""
    here = SimpleNamespace(capability=(9, 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: here.capability)
    return here


@pytest.fixture
def idle_gpu(monkeypatch, tmp_path):
    """A machine with an NVIDIA GPU that torch cannot use, as sysfs shows it."""
    card = tmp_path / "pci" / "0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x030200\n")
    (tmp_path / "version").write_text("535.104.05\n")
    monkeypatch.setattr(hardware, "_PCI", tmp_path / "pci")
    monkeypatch.setattr(hardware, "_DRIVER", tmp_path / "version")
    monkeypatch.setattr(hardware, "_warned", [""])
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hardware._say_why.cache_clear()
    yield tmp_path
    hardware._say_why.cache_clear()


@pytest.fixture(autouse=True)
def arithmetic():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def allowed():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def test_auto_is_bfloat16_on_a_gpu_that_has_it_alone(gpu):
    assert hardware.pick_precision("auto", CUDA) == "bf16"
    assert hardware.pick_precision("auto", CPU) == "fp32"
    assert hardware.pick_precision("fp32", CUDA) == "fp32"
    gpu.capability = (7, 5)
    assert hardware.pick_precision("auto", CUDA) == "fp32"
    with pytest.raises(UserError, match="precision=fp64 .* auto, fp32, bf16"):
        hardware.known_precision("fp64", CPU)


def test_results_and_digests_name_the_precision_that_was_taken(gpu):
    cfg = compose("evaluate", ["solver=vision_xl"])
    taken = settled(cfg)
    assert (taken.precision, taken.solver.precision, taken.solver.batch_size) == ("bf16", "bf16", 8)
    here = settled(compose("evaluate", ["solver=vision_xl", "device=cpu"]))
    assert (here.solver.precision, here.solver.batch_size) == ("fp32", 1)


def test_every_command_that_restores_leaves_the_precision_open():
    for name in ("restore", "evaluate", "benchmark", "serve"):
        assert compose(name).precision == "auto", name


def test_float32_on_cuda_is_ieee_but_for_both_vaes(gpu):
    set_tf32(True)
    hardware.pick_device("auto")
    assert allowed() == (False, False)
    with tf32(True, CUDA):
        assert allowed() == (True, True)
    with tf32(False, CUDA):
        assert allowed() == (False, False)
    assert allowed() == (False, False)


def test_tf32_is_for_the_main_thread():
    set_tf32(False)
    seen = []

    def look():
        with tf32(True, CUDA):
            seen.append(allowed())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(False, False)]


@pytest.mark.parametrize("name", ["lean", "wan"])
def test_both_vaes_take_tf32_with_bf16_alone(name):
    node = compose("restore", [f"vae={name}"]).vae.module
    assert vae_of(node, "bf16").tf32
    assert vae_of(node, "bf16").decode_dtype == torch.bfloat16
    assert not vae_of(node, "fp32").tf32


def test_a_gpu_that_is_left_idle_is_explained(idle_gpu, monkeypatch, capsys):
    def looks():
        import warnings

        warnings.warn("The NVIDIA driver on your system is too old (found 12020).", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", looks)
    assert hardware.pick_device("auto") == CPU
    said = capsys.readouterr().err
    assert "NVIDIA GPU: its driver 535.104.05 is too old for this torch" in " ".join(said.split())
    hardware.pick_device("auto")
    assert not capsys.readouterr().err  # once
    (idle_gpu / "version").unlink()
    assert hardware.unused_gpu() == "no NVIDIA driver is loaded"
    monkeypatch.setattr(torch.version, "cuda", None)
    assert hardware.unused_gpu() == "this torch was built without CUDA"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert hardware.unused_gpu() is None


def test_no_gpu_is_no_news(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(hardware, "_PCI", tmp_path / "none")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.pick_device("auto") == CPU
    assert not capsys.readouterr().err


def test_an_old_cudnn_is_noted_where_it_decides_the_path():
    assert hardware.cudnn_notes(91900, (9, 0)) == []
    assert [note.split(":")[1].split()[0] for note in hardware.cudnn_notes(91500, (9, 0))] == [
        "attention"
    ]
    assert len(hardware.cudnn_notes(91200, (9, 0))) == 2
    assert len(hardware.cudnn_notes(91200, (8, 0))) == 1
    assert hardware.cudnn_notes(None, (9, 0))


def test_cuda_facts_are_recorded(gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91200)
    facts = hardware.cuda_facts(CUDA)
    assert facts["cudnn"] == 91200
    assert facts["capability"] == "9.0"
    assert len(facts["notes"]) == 2
    assert hardware.cuda_facts(CPU) == {}
