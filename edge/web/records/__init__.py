"""What lines have recorded."""
