"""The box that the pages are about: its lines, their records, its shifts."""
