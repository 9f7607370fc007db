"""The arguments that both stages share."""

import argparse
from pathlib import Path

from lvis.errors import UserError
from small.loop import Length


def common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--footage", type=Path, required=True, help="folder of videos and photos")
    parser.add_argument("--output", type=Path, required=True, help="folder of checkpoints")
    parser.add_argument("--minutes", type=float, help="length of the training by the clock")
    parser.add_argument("--steps", type=int, help="its length in steps instead")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def length_of(asked: argparse.Namespace) -> Length:
    """Raises UserError unless one of minutes and steps was given."""
    if (asked.minutes is None) == (asked.steps is None):
        raise UserError("give --minutes or --steps, one of the two")
    return Length(minutes=asked.minutes, steps=asked.steps)
