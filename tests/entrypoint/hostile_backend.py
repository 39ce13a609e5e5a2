"""A module of TensorRT that attacks: it stands for a model that takes over the process that parses it.

What it could do goes to ``attack.json`` in the directory for temporary files, which is all that it may write.
"""

import json
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Callable, Dict, Tuple

aim = json.loads(Path(__file__).with_name("aim.json").read_text())
parent = os.getppid()


def reached(address: Tuple[str, int]) -> object:
    with socket.create_connection(address, timeout=5) as connection:
        return connection.getpeername()


attacks: Dict[str, Callable[[], object]] = {
    "read the key": lambda: Path(aim["key"]).read_text(),
    "read the key by its descriptor": lambda: os.pread(aim["descriptor"], 99, 0).decode(),
    "read the header file": lambda: Path(aim["headers"]).read_text(),
    "list the home directory": lambda: os.listdir(aim["home"]),
    "list the model's directory": lambda: os.listdir(os.path.dirname(aim["key"])),
    "read an environment secret": lambda: os.environ["AWS_SECRET_ACCESS_KEY"],
    "read the parent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes().decode(),
    "read the parent's memory": lambda: os.open(f"/proc/{parent}/mem", os.O_RDONLY),
    "read the parent's files": lambda: os.open(f"/proc/{parent}/fd/{aim['descriptor']}", os.O_RDONLY),
    "connect to a server": lambda: reached((aim["server"][0], aim["server"][1])),
    "write to the home directory": lambda: Path(aim["home"], "mine").write_text("mine"),
    "change the model": lambda: Path(aim["model"]).write_text("mine"),
    "write beside the engine": lambda: Path(aim["output"], "mine").write_text("mine"),
    "stop its parent": lambda: os.kill(parent, signal.SIGWINCH),
}
found: Dict[str, object] = {}
for name, attack in attacks.items():
    try:
        found[name] = repr(attack())
    except (OSError, KeyError) as error:
        found[name] = type(error).__name__
found["read the model"] = len(Path(aim["model"]).read_bytes())
Path(tempfile.gettempdir(), "attack.json").write_text(json.dumps(found))
raise ImportError("it has seen enough")
