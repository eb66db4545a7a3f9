"""Pages for whoever changes a line: thresholds, versions, recipes, and how the line drifts."""
