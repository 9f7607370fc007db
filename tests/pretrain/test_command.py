"""Pretraining takes hours, so it does not start before a part is named."""

import pytest

from lvis.cli.config import compose
from lvis.errors import UserError
from lvis.pretrain.command import pretrain


def test_without_a_part_it_says_what_there_is_and_trains_nothing():
    with pytest.raises(UserError, match="part=wan_vae, lean_vae, teacher"):
        pretrain(compose("pretrain"))
