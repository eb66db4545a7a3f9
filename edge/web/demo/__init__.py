"""The sample line with its pages, for whoever wants to see what this is."""
