"""The tiny suite and the controlled lab: synthetic languages and training loops; results are evaluated elsewhere."""
