"""The parts of `lvis.prepare`: sources, survey, plan, cutting, writing."""
