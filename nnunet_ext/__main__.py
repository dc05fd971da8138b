"""`python -m nnunet_ext`, the same as the command `nnunet_ext`."""

import sys

from nnunet_ext.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
