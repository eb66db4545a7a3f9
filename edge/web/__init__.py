"""Pages for browsers beside the lines: they read what lines write, and no line waits for them."""
