"""``python .../launch/start.py MODULE ARGUMENT...``: call ``main`` of a module of this package.

``python -m`` imports from the current directory first, which may have a foreign ``types.py``. ``-I`` also hides
per-user installations, and ``-P`` exists only since Python 3.11. With a script, its own directory replaces the current
one: this directory, which contains nothing else.
"""

import gc
import os
import sys

gc.set_threshold(50_000)  # or modules are searched for garbage dozens of times while they are imported
_HERE = os.path.dirname(os.path.abspath(__file__))
if sys.path[0] == _HERE:  # not under PYTHONSAFEPATH
    del sys.path[0]
_ROOT = os.path.dirname(os.path.dirname(_HERE))
sys.path.insert(0, _ROOT)

import prepare_models_entrypoint  # noqa: E402, F401  # this copy of it, whatever else is installed

sys.path.remove(_ROOT)  # modules next to the package must not shadow the standard library

import importlib  # noqa: E402  # after the path is clean

if __name__ == "__main__":
    sys.exit(importlib.import_module(f"prepare_models_entrypoint.{sys.argv[1]}").main(sys.argv[2:]))
