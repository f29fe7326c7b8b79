"""`python -m anomalycli`."""

from .cli import main

main()
