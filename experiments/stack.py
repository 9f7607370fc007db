"""One picture from several of one width, one below the other: python experiments/stack.py OUTPUT PICTURE ..."""

import sys

import numpy as np
from PIL import Image


def main(output: str, *pictures: str) -> None:
    rows = [np.asarray(Image.open(path).convert("RGB")) for path in pictures]
    Image.fromarray(np.concatenate(rows)).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
