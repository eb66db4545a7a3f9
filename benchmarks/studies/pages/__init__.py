"""What the pages of `edge-inspect web` cost, and how they look; each file is a program."""
