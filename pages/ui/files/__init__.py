"""What leaves the app: tables, charts and figures as files, with the facts that decide their numbers."""
