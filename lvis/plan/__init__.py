"""What a distillation will need, counted on tensors without storage before anything is loaded."""
