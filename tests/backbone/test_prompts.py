import pytest
import torch

from lvis.backbone import NEGATIVE_PROMPT, NULL_PROMPT, PromptCache, TextEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextEncoder.tiny(text_len=8).eval()


@pytest.fixture
def open_cache(tmp_path, encoder):
    """A cache on one folder and the list that grows whenever it loads its encoder."""

    def open_(model="tiny", text_len=8):
        loads = []
        return PromptCache(
            tmp_path / "prompts", model, lambda: loads.append(1) or encoder, text_len
        ), loads

    return open_


def test_a_known_prompt_needs_no_encoder(open_cache, encoder):
    first, _ = open_cache()
    embeddings = first(["a red ball", "a blue box"])
    again, loads = open_cache()
    assert torch.equal(again(["a red ball", "a blue box"]), embeddings)
    assert loads == []
    torch.testing.assert_close(embeddings, encoder(["a red ball", "a blue box"]), rtol=0, atol=1e-5)


def test_precompute_includes_the_null_and_the_negative_prompt(open_cache):
    first, loads = open_cache()
    first.precompute(["a red ball"])
    assert loads == [1]
    assert first._encoder is None  # 11.4 GB at full size
    again, loads = open_cache()
    embeddings = again([NULL_PROMPT, NEGATIVE_PROMPT, "a red ball"])
    assert loads == [] and embeddings.shape == (3, 8, 64)


@pytest.mark.parametrize("damage", [b"", b"not safetensors at all", None])
def test_a_damaged_file_is_encoded_again(open_cache, damage):
    cache, _ = open_cache()
    embedding = cache.embedding("a red ball")
    path = cache.path("a red ball")
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    again, loads = open_cache()
    assert torch.equal(again.embedding("a red ball"), embedding)
    assert loads == [1]
    mended, loads = open_cache()
    assert torch.equal(mended.embedding("a red ball"), embedding) and loads == []


def test_encoders_do_not_share_files(open_cache):
    one, _ = open_cache("tiny")
    other, loads = open_cache("umt5-xxl")
    one.embedding("a red ball")
    other.embedding("a red ball")
    assert loads == [1]
    assert one.path("a red ball") != other.path("a red ball") != other.path("a red box")


def test_nothing_but_whole_files_is_left(open_cache):
    cache, _ = open_cache()
    cache(["a red ball"])
    assert [path.name for path in cache.folder.iterdir()] == [cache.path("a red ball").name]
