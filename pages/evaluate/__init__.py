"""The evaluate page: a study, its checkpoints, what it costs, and all jobs."""
