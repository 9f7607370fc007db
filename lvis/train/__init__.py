"""The command `python -m lvis.train`: a distillation from its configuration."""
