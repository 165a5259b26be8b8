"""Makes the repository's `benchmarks` package importable.

This folder is no package on purpose: pytest would import it as `benchmarks` and hide the real one.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
