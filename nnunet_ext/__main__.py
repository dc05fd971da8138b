"""`python -m nnunet_ext`, the same as the command `nnunet_ext`."""

import sys

from nnunet_ext.cli.main import main

# Spawned processes, those of nnU-Net too, then begin with this file, as they do with that of the command:
# what this package sets for Windows on its import is set there.
__spec__ = None

if __name__ == "__main__":
    sys.exit(main())
