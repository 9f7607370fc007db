import pytest
import torch

from lvis.backbone import TextEncoder, WordTokenizer
from lvis.backbone.tokenizer import clean


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextEncoder.tiny(text_len=8).eval()


def test_words_keep_their_ids():
    ids = WordTokenizer(1024)(["A red ball, moving left.", ""], 32)
    # CRC-32 is the same on every machine; weights depend on these numbers
    assert ids == [[111, 759, 667, 204, 518, 1], [1]]


def test_long_prompts_are_cut_before_the_end_token():
    (ids,) = WordTokenizer(1024)(["one two three four five six"], 4)
    assert ids[:3] == WordTokenizer(1024).ids("one two three") and ids[3:] == [1]


def test_ids_stay_in_the_vocabulary():
    words = " ".join(f"word{index}" for index in range(500))
    ids = WordTokenizer(16).ids(words)
    assert set(ids) == set(range(2, 16))


def test_embeddings_are_zero_behind_the_prompt(encoder):
    embeddings = encoder.encode(["a red ball", ""])
    assert embeddings.shape == (2, 8, 64)
    assert embeddings[0, :4].abs().sum(-1).all() and not embeddings[0, 4:].any()
    assert embeddings[1, :1].abs().sum(-1).all() and not embeddings[1, 1:].any()


def test_a_prompt_does_not_see_its_neighbours_padding(encoder):
    together = encoder(["a", "a much longer prompt of words"])
    torch.testing.assert_close(together[:1], encoder(["a"]), rtol=0, atol=1e-5)


def test_the_encoder_can_be_trained(encoder):
    encoder(["a red ball", ""]).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    encoder.train()
    assert torch.equal(encoder(["a red ball"]), encoder(["a red ball"]))


def test_prompts_are_cleaned_as_in_wan():
    assert clean("  a &amp;amp; b\n\tc ") == "a & b c"
