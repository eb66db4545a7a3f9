"""What the number means that the program ends with."""

from __future__ import annotations

INTERRUPTED = 130
# verdicts were given that are not on record, or that the reader of --json did not get
UNRECORDED = 5

EXIT_CODES = """exit codes:
  0    finished
  1    a check failed (replay differs, the gate refuses, the line is not ready for its shift, doctor found something
       that prevents inspection)
  2    wrong command line, configuration or data; something not installed
  3    camera: not there, busy, or no frames to read
  4    bundle: missing, damaged, of another version, or calibrated for another engine or region of interest
  5    verdicts that are not on record, whatever the reason, or that the reader of --json did not get
  130  interrupted (Ctrl-C, SIGTERM, SIGHUP); everything up to then is on record"""
