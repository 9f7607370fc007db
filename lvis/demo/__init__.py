"""The parts of `python -m lvis.demo`."""
