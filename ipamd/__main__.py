"""`python -m ipamd` is `ipamd`."""

import sys

from ipamd.cli import main

if __name__ == "__main__":
    sys.exit(main())
