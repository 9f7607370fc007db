"""lvis: restore real video measurements block by block with video diffusion priors."""

__version__ = "0.1.0"
