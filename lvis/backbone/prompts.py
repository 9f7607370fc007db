"""Embeddings of prompts on disk, so that the text encoder need not be loaded for them."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lvis.backbone.text import TextEncoder
from lvis.files import replacing

log = logging.getLogger(__name__)

NULL_PROMPT = ""
# the negative prompt of Wan 2.1's sample code (wan/configs/shared_config.py, Apache-2.0)
NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，"
    "低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，"
    "形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)


class PromptCache:
    """Prompt -> embedding, from the disk where it is there and from the encoder where it is not.

    Args:
        folder: of the files, one per prompt; made when the first is written.
        model: which encoder made them (a weights source); part of a file's name.
        load_encoder: called at most once, when a prompt is missing.
        text_len: tokens of an embedding.
    """

    def __init__(
        self,
        folder: str | Path,
        model: str,
        load_encoder: Callable[[], TextEncoder],
        text_len: int = 512,
    ) -> None:
        self.folder = Path(folder)
        self.model = model
        self.text_len = text_len
        self._load_encoder = load_encoder
        self._encoder: TextEncoder | None = None

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings (B, text_len, D) on the CPU, padded with zeros.

        Raises:
            UserError: the folder cannot be written, or the encoder cannot be loaded.
        """
        return torch.stack([self.embedding(prompt) for prompt in prompts])

    def precompute(self, prompts: Sequence[str] = ()) -> None:
        """Put `prompts` on disk, with the null prompt and Wan's negative prompt; then free the encoder."""
        for prompt in dict.fromkeys((NULL_PROMPT, NEGATIVE_PROMPT, *prompts)):
            self.embedding(prompt)
        self._encoder = None

    def embedding(self, prompt: str) -> Tensor:
        """The embedding of one prompt, (text_len, D)."""
        tokens = self.tokens(prompt)
        return F.pad(tokens, (0, 0, 0, self.text_len - tokens.shape[0]))

    def tokens(self, prompt: str) -> Tensor:
        """The embedding of one prompt before padding, (L, D) with L <= text_len."""
        path = self.path(prompt)
        tokens = self._read(path)
        if tokens is None:
            tokens = self._encode(prompt)
            with replacing(path) as partial:
                save_file({"tokens": tokens}, partial, {"model": self.model, "prompt": prompt})
        return tokens

    def path(self, prompt: str) -> Path:
        """The file of a prompt."""
        name = "\0".join((self.model, str(self.text_len), prompt))
        return self.folder / f"{hashlib.sha256(name.encode('utf-8')).hexdigest()}.safetensors"

    def _read(self, path: Path) -> Tensor | None:
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                tokens = file.get_tensor("tokens")
        except SafetensorError as error:
            log.warning("%s is damaged (%s); encoding its prompt again", path, error)
            return None
        if tokens.ndim != 2 or tokens.shape[0] > self.text_len:
            log.warning("%s holds no prompt embedding; encoding its prompt again", path)
            return None
        return tokens

    @torch.no_grad()
    def _encode(self, prompt: str) -> Tensor:
        if self._encoder is None:
            self._encoder = self._load_encoder().eval()
        embedding = self._encoder([prompt])[0].cpu()
        length = len(self._encoder.tokenizer([prompt], self.text_len)[0])
        return embedding[:length].contiguous()
