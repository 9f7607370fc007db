"""Training the priors themselves, at a scale that a laptop can afford: the VAEs and the teacher of the tiny world."""
