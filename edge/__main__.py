"""`python -m edge` is `edge-inspect`."""

import sys

from edge.cli import main

sys.exit(main())
