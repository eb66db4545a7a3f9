"""The program `edge-inspect`; `python -m edge` is the same."""

import sys

from edge.system.stop_signals import unwrapped_ctrl_c


def main() -> int:
    """Run the command of this process, and return its exit code."""
    try:
        # here, because a Ctrl-C may come while the command line is still being imported
        with unwrapped_ctrl_c():
            from edge.cli import main as command_line

            return command_line()
    except KeyboardInterrupt:
        print("edge-inspect: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
