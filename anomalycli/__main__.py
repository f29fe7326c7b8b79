"""`python -m anomalycli`."""

import os
import sys

# Python puts the current folder first: modules are not looked for beside the user's videos.
if sys.path and not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109  (pathlib imports much)
    del sys.path[0]

from .cli import main

main()
