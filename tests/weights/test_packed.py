"""Students as 8-bit differences from their teacher."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from lvis.errors import UserError
from lvis.weights import (
    load_student,
    load_transformer,
    pack,
    save_packed_student,
    save_transformer,
    unpack,
)


@pytest.fixture
def pair(transformer):
    """A teacher's state, and a student's that training moved by about a hundredth."""
    base = {key: tensor.clone() for key, tensor in transformer.net.state_dict().items()}
    generator = torch.Generator().manual_seed(1)
    student = {
        key: tensor + 0.01 * torch.randn(tensor.shape, generator=generator)
        for key, tensor in base.items()
    }
    return base, student


def test_the_error_is_half_a_level_and_below_two_percent_of_the_difference(pair, tmp_path):
    base, student = pair
    pack(student, base, tmp_path / "delta.safetensors")
    restored = unpack(tmp_path / "delta.safetensors", base)
    assert restored.keys() == student.keys()
    for key, tensor in student.items():
        rows = tensor.shape[0] if tensor.ndim > 1 and tensor.shape[0] > 1 else 1
        if tensor.ndim > 1 and tensor.shape[0] == 1:
            rows = tensor.shape[1]
        error = (restored[key] - tensor).reshape(rows, -1)
        difference = (tensor - base[key]).reshape(rows, -1)
        level = difference.abs().amax(dim=1, keepdim=True) / 127
        assert (error.abs() <= 0.5 * level * 1.001 + 1e-8).all(), key
        assert error.square().mean() < (0.02 * difference.square().mean().sqrt()) ** 2


def test_a_packed_student_takes_a_quarter_of_the_space(pair, tmp_path):
    base, student = pair
    pack(student, base, tmp_path / "delta.safetensors")
    save_file(student, tmp_path / "whole.safetensors")
    sizes = [
        (tmp_path / name).stat().st_size for name in ("delta.safetensors", "whole.safetensors")
    ]
    assert sizes[0] < 0.32 * sizes[1]


def test_an_unmoved_student_is_its_teacher_exactly(pair, tmp_path):
    base, _ = pair
    pack(base, base, tmp_path / "delta.safetensors")
    restored = unpack(tmp_path / "delta.safetensors", base)
    assert all(torch.equal(restored[key], base[key]) for key in base)


def test_outliers_and_new_tensors_keep_sixteen_bits(pair, tmp_path):
    base, student = pair
    student["proj_out.weight"][:, 0] += 5.0
    student["extra"] = torch.linspace(-1, 1, 9)
    pack(student, base, tmp_path / "delta.safetensors")
    stored = load_file(tmp_path / "delta.safetensors")
    assert stored["proj_out.weight:difference"].dtype == torch.float16
    assert stored["extra:full"].dtype == torch.float16
    restored = unpack(tmp_path / "delta.safetensors", base)
    assert torch.allclose(restored["extra"], student["extra"], atol=1e-3)
    error = restored["proj_out.weight"] - student["proj_out.weight"]
    assert error[:, 1:].abs().max() < 1e-4


def test_another_base_is_refused(pair, tmp_path):
    base, student = pair
    pack(student, base, tmp_path / "delta.safetensors", "bundled:tiny/teacher")
    other = {**base, "proj_out.bias": base["proj_out.bias"] + 1e-3}
    with pytest.raises(UserError, match="another version of bundled:tiny/teacher"):
        unpack(tmp_path / "delta.safetensors", other)


def test_values_that_are_not_finite_are_refused(pair, tmp_path):
    base, student = pair
    student["proj_out.bias"][0] = float("nan")
    with pytest.raises(UserError, match="proj_out.bias"):
        pack(student, base, tmp_path / "delta.safetensors")
    assert not (tmp_path / "delta.safetensors").exists()


def test_a_packed_folder_loads_as_a_student(transformer, pair, tmp_path):
    save_transformer(transformer, tmp_path / "teacher", dtype=torch.float16)
    teacher = load_transformer(str(tmp_path / "teacher"))
    base = teacher.net.state_dict()
    student = load_transformer(str(tmp_path / "teacher"))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    said = {"task": "sr4", "vae": "wan", "parametrization": "flow"}
    source = str(tmp_path / "teacher")
    save_packed_student(student, tmp_path / "student", base, said, base_source=source)
    loaded, extra = load_student(str(tmp_path / "student"))
    assert extra == said
    assert loaded.text_len == student.text_len
    for parameter, wanted in zip(loaded.parameters(), student.parameters(), strict=True):
        assert (parameter - wanted).abs().max() < 1e-3
    # a file that is no difference at all
    save_file({"x": torch.zeros(1)}, tmp_path / "student" / "delta.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="no layout we know"):
        load_student(str(tmp_path / "student"))
