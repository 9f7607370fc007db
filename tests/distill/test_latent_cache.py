"""z_in on disk: read where it was made, made again where damaged, refused where it is no function of the clip."""

from dataclasses import replace

import pytest
import torch

from lvis.cli.config import compose
from lvis.distill.latent_cache import LatentCache, check_fixed, latent_cache
from lvis.distill.randomness import Draws
from lvis.errors import UserError
from lvis.operators import GaussianBlur, Inpainting


def latents(clips):
    return torch.stack([torch.full((16, 3, 4, 4), float(clip)) for clip in clips])


def never():
    raise AssertionError("encoded again")


def test_what_was_made_is_read_and_what_is_damaged_is_made_again(tmp_path):
    cache = LatentCache(tmp_path, {"vae": "lean"})
    assert torch.equal(cache.latents([1, 2002], lambda: latents([1, 2002])), latents([1, 2002]))
    again = LatentCache(tmp_path, {"vae": "lean"})
    assert torch.equal(again.latents([2002, 1], never), latents([2002, 1]))
    # one that lacks a clip is made as a whole
    assert torch.equal(again.latents([1, 3], lambda: latents([1, 3])), latents([1, 3]))
    assert (again.read, again.made) == (2, 2)
    again.path(3).write_bytes(again.path(3).read_bytes()[:100])
    assert torch.equal(again.latents([3], lambda: latents([3])), latents([3]))
    assert torch.equal(again.latents([3], never), latents([3]))


def test_other_facts_have_other_folders(tmp_path):
    one, other = (LatentCache(tmp_path, {"vae": vae}) for vae in ("lean", "wan"))
    one.latents([1], lambda: latents([1]))
    assert not other.path(1).exists()
    assert LatentCache(tmp_path, {"vae": "lean"}).path(1).exists()


def test_a_known_z_in_changes_nothing_but_the_encoding(make_losses, make_batch):
    losses = make_losses(vae="lean")
    batch, draws = make_batch(1), Draws(0, 0, range(1))
    measurement = losses.measure(batch["video"], batch["prompt"], draws["measurement"])
    expected, target = losses.student_terms(measurement, draws, 1.0)
    z_in = losses.student_input(measurement)
    losses.encode = None  # nothing is left to encode with
    found, same = losses.student_terms(replace(measurement, z_in=z_in), draws, 1.0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(same, target)


WORDS = ["data=shards", "data.folder=x", "output=x", "distill.latent_cache=cache"]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("task.operator.noise_std=0.1", "noise_std"),
        ("distill.x_init=estimate", "x_init=estimate"),
    ],
)
def test_what_has_no_one_z_in_is_refused(word, sentence):
    with pytest.raises(UserError, match=sentence):
        latent_cache(compose("train", [*WORDS, word]), "shards 01")


def test_clips_that_do_not_come_again_are_refused():
    cfg = compose("train", ["output=x", "distill.latent_cache=cache"])
    with pytest.raises(UserError, match="use data=shards"):
        latent_cache(cfg, "synthetic")


def test_a_random_operator_is_refused():
    mask = Inpainting(missing_share=0.5)
    with pytest.raises(UserError, match="Inpainting is drawn anew"):
        check_fixed(mask, mask.realise((1, 3, 9, 32, 32), torch.Generator()))
    blur = GaussianBlur(size=5, sigma=1.0)
    check_fixed(blur, blur.realise((1, 3, 9, 32, 32), torch.Generator()))


def test_the_facts_are_what_z_in_depends_on(tmp_path):
    def folder(*words: str):
        words = [*WORDS[:3], f"distill.latent_cache={tmp_path}", "task=deblur", *words]
        found = latent_cache(compose("train", words), "shards 01")
        assert found is not None
        return found.folder

    assert folder() == folder("distill.student_learning_rate=1e-4") == folder("seed=3")
    others = ("task=sr4", "vae=wan", "distill.frames=33", "task.operator.sigma=2")
    assert len({folder(), *(folder(other) for other in others)}) == 5
