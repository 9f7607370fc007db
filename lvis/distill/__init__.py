"""InstantViR: distilling a video diffusion prior into a one-step streaming student, without ground
truth."""
