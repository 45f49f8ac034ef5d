"""Finding, checking and loading checkpoints; tasks and prompts are not known here."""
