"""The methods with a frozen pre-trained encoder as their eyes: learners, and what they share."""
