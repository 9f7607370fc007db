"""What is wrong with a command line is said with the key, its value and the way out."""

import pytest

from lvis.cli.config import check_arguments, compose
from lvis.errors import UserError


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("inptu=3", "inptu is not a key; did you mean input?"),
        ("raw.siez=3", "raw.siez is not a key; did you mean raw.size?"),
        ("raw.zzz=3", "raw has rate, size"),
        ("raw.size=[1,2", "cannot read raw.size="),
        ("input=clip (1).mp4", "KEY='\"VALUE\"'"),
    ],
)
def test_an_argument_that_cannot_be_used_names_the_way_out(argument, said):
    with pytest.raises(UserError) as error:
        compose("restore", [argument])
    assert said in str(error.value)
    assert "\n" not in str(error.value) and "+" not in str(error.value)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("distill.student.lr=1", "distill.student is not a key; did you mean distill.student_"),
        ("distill.student_timestep=3", "distill.timestep?"),
        ("foo.bar=1", "foo is not a key; there are"),
    ],
)
def test_an_unknown_key_is_named_at_the_level_that_lacks_it(argument, said):
    with pytest.raises(UserError) as error:
        compose("train", [argument])
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("solver", "key"), [("lvtino", "final_correction"), ("vision_xl", "correct_result")]
)
def test_a_key_of_before_names_the_one_that_replaces_it(solver, key):
    said = f"solver.{key} is not a key; set consistency=prox"
    with pytest.raises(UserError, match=said):
        compose("evaluate", [f"solver={solver}", f"solver.{key}=true"])


@pytest.mark.parametrize(
    ("config", "argument", "said"),
    [
        ("evaluate", "clips.size=64", "clips.size=64 is not a list; give one, such as its default"),
        ("evaluate", "clips.frames=abc", "clips.frames=abc is not a number"),
        ("evaluate", "assumed=3", "assumed=3 is not a group of keys"),
        ("restore", "degrade=1", "degrade=1 is not true or false"),
        ("restore", "quality='18'", "quality='18' is not a number"),
        ("restore", "seed=true", "seed=true is not a number"),
    ],
)
def test_a_value_of_another_kind_than_its_default_is_refused(config, argument, said):
    with pytest.raises(UserError) as error:
        check_arguments(config, [argument])
    assert said in str(error.value)


def test_values_of_the_right_kind_sweeps_groups_and_flags_pass():
    check_arguments(
        "train",
        [
            "-m",
            "task=inpaint,deblur",
            "vae=wan",
            "experiment=instantvir_lean_inpaint",
            "trainer.devices=auto",
            "trainer.max_steps=1e3",
            "trainer.threads=null",
            "trainer.keep=2,3",
            "distill.size=[64,64]",
            "distill.frames=${model.frames}",
            "hydra.run.dir=x",
            "+new.key=abc",
        ],
    )
    check_arguments("evaluate", ["clips.source=[a.mp4,b]", "label=3", "clips.count=2"])


def test_a_value_that_is_left_open_names_its_key():
    from lvis.cli.command_line import first_sentence
    from lvis.cli.config import plain

    cfg = compose("restore", ["task=own"])
    with pytest.raises(Exception) as error:
        plain(cfg)
    assert first_sentence(error.value) == "task._target_ is not given; add task._target_=VALUE"
