"""The runtime: capture, inspection, verdict, records. Importing it needs numpy, cv2, yaml and pydantic only."""

__version__ = "0.2.0"
