"""Training: the step, the loop, checkpoints that resume exactly (paper section 2.5)."""
