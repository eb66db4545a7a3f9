"""Every HTML page and every contact sheet that the program writes: one style, one way to draw."""
