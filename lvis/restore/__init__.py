"""The parts of `python -m lvis.restore`."""
