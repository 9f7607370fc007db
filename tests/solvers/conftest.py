"""A student of a few thousand parameters with random weights: the real classes, small."""

from collections.abc import Callable

import pytest
import torch

from lvis.backbone import WanTransformer
from lvis.solvers import AVISSolver, StudentSolver
from lvis.vae.lean import LeanVAE

TEXT_DIM = 8


def tiny_transformer() -> WanTransformer:
    torch.manual_seed(0)
    transformer = WanTransformer(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        ffn_dim=32,
        text_dim=TEXT_DIM,
        text_len=4,
        freq_dim=16,
    )
    transformer.reset_parameters()
    # a velocity of zero would make the student the identity and hide its mistakes
    torch.nn.init.normal_(transformer.net.proj_out.weight, std=0.1)
    return transformer


def embed_text(prompts) -> torch.Tensor:
    return torch.ones(len(prompts), 2, TEXT_DIM)


def build_student(**settings) -> StudentSolver:
    return StudentSolver(tiny_transformer(), tiny_vae(), embed_text, **settings)


def build_avis(**settings) -> AVISSolver:
    return AVISSolver(tiny_transformer(), tiny_vae(), embed_text, **settings)


def tiny_vae() -> LeanVAE:
    return LeanVAE(
        latent_dim=16, low_width=8, high_width=8, branch_layers=1, fusion_layers=1, ista_layers=1
    )


@pytest.fixture(scope="session")
def tiny_student() -> Callable[..., StudentSolver]:
    """Makes one, with `StudentSolver`'s settings."""
    return build_student


@pytest.fixture(scope="session")
def tiny_avis() -> Callable[..., AVISSolver]:
    """Makes one, with `AVISSolver`'s settings."""
    return build_avis
