"""What the rows of an evaluation say, as a static page or on Weights & Biases."""
