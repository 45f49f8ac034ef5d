"""What exists: model families and tasks, as read-only literals with a source for each entry; nothing is loaded here."""
