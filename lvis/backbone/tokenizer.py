"""Prompts to token ids: the published vocabulary, or hashed words that need no file."""

import html
import re
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from lvis.errors import UserError

PAD, END = 0, 1
RESERVED = 2


class Tokenizer(Protocol):
    def __call__(self, prompts: Sequence[str], text_len: int) -> list[list[int]]:
        """Ids of each prompt, the end token included, at most `text_len`; no padding."""


class WordTokenizer:
    """Lower-case words, each hashed (CRC-32) to one of `vocab_size` ids; 0 is padding, 1 the end.

    The same word has the same id on every machine, so that weights trained here run there.
    """

    def __init__(self, vocab_size: int = 1024) -> None:
        self.vocab_size = vocab_size

    def __call__(self, prompts: Sequence[str], text_len: int) -> list[list[int]]:
        return [self.ids(prompt)[: text_len - 1] + [END] for prompt in prompts]

    def ids(self, prompt: str) -> list[int]:
        words = re.findall(r"\w+", prompt.lower())
        buckets = self.vocab_size - RESERVED
        return [RESERVED + zlib.crc32(word.encode("utf-8")) % buckets for word in words]


class HubTokenizer:
    """The tokenizer of a transformers repository or folder (`google/umt5-xxl` for Wan)."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._tokenizer: Any = None

    def __call__(self, prompts: Sequence[str], text_len: int) -> list[list[int]]:
        """
        Raises:
            UserError: there is no tokenizer at `source`.
        """
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            try:
                self._tokenizer = AutoTokenizer.from_pretrained(self.source)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"no tokenizer found at {self.source!r}; give a transformers folder or "
                    "repository, or download google/umt5-xxl"
                ) from error
        encoded = self._tokenizer(
            [clean(prompt) for prompt in prompts],
            truncation=True,
            max_length=text_len,
            add_special_tokens=True,
        )
        return encoded["input_ids"]


def clean(prompt: str) -> str:
    """HTML entities resolved and white space collapsed, as Wan cleans its prompts."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(prompt))).strip()


def padded(ids: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids (B, longest) and their mask, 1 on tokens and 0 on padding."""
    longest = max(len(row) for row in ids)
    rows = torch.full((len(ids), longest), PAD, dtype=torch.long)
    mask = torch.zeros_like(rows)
    for index, row in enumerate(ids):
        rows[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return rows.to(device), mask.to(device)
