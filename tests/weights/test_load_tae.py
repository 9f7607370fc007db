"""vae=tae: a tiny decoder beside Wan's encoder, from a file in the published layout to a restored clip."""

import pytest
import torch

from lvis.cli.build import build
from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.operators import GaussianBlur
from lvis.solvers.build import build_solver
from lvis.train.settings import check_values
from lvis.vae import TAE
from lvis.weights import load_tae, load_wan_vae, save_lean_vae

SMALL = {"encoder_width": 8, "decoder_widths": [32, 16, 8, 8]}


@pytest.fixture
def published(tmp_path):
    """A small file in the layout of taew2_1.pth, and what is in it."""
    torch.manual_seed(0)
    vae = TAE(**SMALL).eval()
    path = tmp_path / "taew2_1.pth"
    torch.save(vae.state_dict(), path)
    return path, vae


def test_a_file_in_the_published_layout_loads(published):
    path, vae = published
    loaded = load_tae(str(path))
    latents = torch.randn(1, 16, 3, 2, 2)
    with torch.no_grad():
        assert torch.equal(loaded.decode(latents), vae.decode(latents))
    assert load_tae(str(path.parent)).own_state().keys() == vae.state_dict().keys()


def test_what_is_not_one_is_refused(tmp_path, lean_vae):
    with pytest.raises(UserError, match="no tiny autoencoder weights are named"):
        load_tae(None)
    save_lean_vae(lean_vae, tmp_path / "lean")
    with pytest.raises(UserError, match="holds a LeanVAE; give a TAEHV"):
        load_tae(str(tmp_path / "lean"))
    state = TAE(**SMALL).state_dict()
    del state["decoder.9.conv.0.bias"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(UserError, match=r"1 missing \(decoder.9.conv.0.bias"):
        load_tae(str(tmp_path / "short.pth"))


def test_wans_encoder_comes_without_its_decoder(published):
    path, _ = published
    tiny = {"_target_": "lvis.weights.load_wan_vae", "source": "bundled:tiny/wan_vae"}
    vae = load_tae(str(path), tiny)
    wan = load_wan_vae("bundled:tiny/wan_vae")
    video = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        assert torch.equal(vae.encode(video), wan.encode(video))
    given = sum(p.numel() for p in vae.parameters())
    own = sum(p.numel() for p in TAE(**SMALL).parameters())
    kept = sum(p.numel() for name, p in wan.net.named_parameters() if _encodes(name))
    assert given == own + kept


def _encodes(name: str) -> bool:
    return name.startswith(("encoder.", "quant_conv."))


def test_wans_student_restores_with_it(published, monkeypatch):
    path, _ = published
    operator = GaussianBlur(size=9, sigma=1.0)
    measured = operator(torch.rand(1, 3, 21, 32, 32) * 2 - 1)
    decoded: dict[str, list[torch.Tensor]] = {}
    for name in ("wan", "tae"):
        keys = ["task=deblur", "model=tiny", f"vae={name}", "device=cpu"]
        cfg = compose("restore", [*keys, f"model.vaes.tae.source={path}"])
        solver = build_solver(cfg)
        kept = decoded[name] = []

        def decode(latents, state=None, kept=kept, own=solver.vae.decode_block):
            kept.append(latents)
            return own(latents, state)

        monkeypatch.setattr(solver.vae, "decode_block", decode)
        with solver.open(operator, (32, 32)) as stream:
            restored = torch.cat([*stream.push(measured), *stream.finish()], dim=2)
        assert restored.shape == (1, 3, 21, 32, 32)
    # the student sees and gives the latents that it was distilled with
    for tiny, whole in zip(decoded["tae"], decoded["wan"], strict=True):
        torch.testing.assert_close(tiny, whole, atol=1e-4, rtol=0)


def test_a_prior_of_wans_latents_takes_it_and_training_does_not(published):
    path, _ = published
    keys = ["solver=avis", "model=tiny", "vae=tae", f"model.vaes.tae.source={path}", "device=cpu"]
    assert isinstance(build_solver(compose("restore", keys)).vae, TAE)
    with pytest.raises(UserError, match="train with vae=wan"):
        check_values(compose("train", ["vae=tae", "output=nowhere"]))


def test_without_a_file_one_sentence_says_what_to_give():
    with pytest.raises(UserError, match="tiny autoencoder"):
        build(compose("restore", ["task=deblur", "model=tiny", "vae=tae"]).solver)
