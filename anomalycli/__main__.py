"""The program `anomalycli`, also as `python -m anomalycli`."""

import os
import sys

INTERRUPTED = 130  # as in `errors`, which is not imported yet


def main() -> None:
    """Run the command line and exit, with its code for Ctrl-C even while modules are imported."""
    try:
        from .cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED)
    run()


if __name__ == "__main__":
    # Python puts the current folder first: modules are not looked for beside the user's videos.
    if sys.path and not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109  (pathlib imports much)
        del sys.path[0]
    main()
