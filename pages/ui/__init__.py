"""What two pages or more share, in rooms: data, charts, controls, words, files, panels, server; no arithmetic."""
