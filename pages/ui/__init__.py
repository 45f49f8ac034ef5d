"""What pages share, in rooms: data, charts, controls, words, files, panels, server. There is no arithmetic here."""
