"""What a line does now."""
