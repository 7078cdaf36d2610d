"""`python -m sekimori.daemon`: what `sekimori up` becomes."""

import sys

from sekimori.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
