"""``python -m aiquant``: the command line."""

from aiquant.cli.main import main

main()
