"""Studies, cells, the store, runs and jobs; drawing and measures are elsewhere."""
