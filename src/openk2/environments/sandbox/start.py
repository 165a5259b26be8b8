"""python -I -S start.py MODULE: a bare interpreter that runs the main() of one of these modules.

The packages above are stood in for by empty ones, so that nothing of openk2 but the sandbox itself
is imported where hostile code will run.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    here = Path(__file__).parent
    for name, folder in (
        ("openk2", here.parent.parent),
        ("openk2.environments", here.parent),
        ("openk2.environments.sandbox", here),
    ):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    importlib.import_module(f"openk2.environments.sandbox.{sys.argv[1]}").main(sys.argv[2:])
