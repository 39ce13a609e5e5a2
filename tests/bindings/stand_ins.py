"""TensorRT's real Python modules without its libraries: libraries of the same names export what the modules need.

Everything that can be asked of classes, enumerations and signatures is NVIDIA's; nothing can be built or loaded.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEEDED = re.compile(r"\(NEEDED\).*\[(lib(?:nv|cuda)[^\]]+)\]")
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Bindings:
    """A TensorRT module that can be imported. ``site``: directory of its packages; ``libraries``: of the stand-ins."""

    module: str
    version: tuple[int, ...]
    site: Path
    libraries: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that imports it, and the entrypoint."""
        path = os.pathsep.join(map(str, (self.site, _ROOT / "entrypoint", _ROOT)))
        return {**os.environ, "PYTHONPATH": path, "LD_LIBRARY_PATH": str(self.libraries), "PREPARE_MODELS_TENSORRT": ""}


def prepared(wheels: Path, folder: Path) -> Bindings:
    """Return the module in a directory of unpacked wheels, which is named like tensorrt-10.3.0."""
    module, _, version = wheels.name.partition("-")
    package = wheels / f"{module}_bindings"
    libraries, site = folder / "lib", folder / "site"
    libraries.mkdir(parents=True)
    (site / module).mkdir(parents=True)
    # What NVIDIA's own package of that name says, which is no wheel.
    text = f"from {module}_bindings import *\nfrom {module}_bindings import __version__\n"
    (site / module / "__init__.py").write_text(text, encoding="utf-8")
    for entry in wheels.iterdir():
        (site / entry.name).symlink_to(entry)
    if not (wheels / f"{module}_libs").exists():
        _export(package / f"{module}.so", libraries)
    return Bindings(module, tuple(int(part) for part in version.split(".") if part.isdigit()), site, libraries)


def _export(extension: Path, libraries: Path) -> None:
    """Write the libraries that an extension names; one of them has every symbol, which returns 0."""
    here = ctypes.CDLL(None)
    undefined = _output("nm", "-D", "--undefined-only", str(extension)).split()
    symbols = [name for name in undefined if name.isidentifier() and len(name) > 1]
    lacking = sorted({name for name in symbols if not name.startswith(("Py", "_Py", "_ITM")) and not _has(here, name)})
    source = libraries / "stand_ins.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in lacking), encoding="utf-8")
    empty = libraries / "empty.c"
    empty.write_text("", encoding="utf-8")
    for number, name in enumerate(_NEEDED.findall(_output("readelf", "-d", str(extension)))):
        command = ["cc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(libraries / name)]
        subprocess.run([*command, str(empty if number else source)], check=True)


def _has(library: ctypes.CDLL, name: str) -> bool:
    return hasattr(library, name)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
