"""Compare the table of an Isaac ROS release with what its nodes' sources declare.

usage: python .ci/isaac_ros_parameters.py RELEASE TENSOR_RT_NODE_CPP TRITON_NODE_CPP
"""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from prepare_models_entrypoint.consumers.isaac_ros.releases import TENSOR_RT, TRITON, release

_DECLARED = re.compile(r"declare_parameter<\s*([\w:<>]+?)\s*>\(\s*\"(\w+)\"\s*,\s*([^;]*?)\)\s*[),]", re.DOTALL)
_QOS = re.compile(r"AddQosParameter\(\s*\*this,\s*\"(\w+)\",\s*\"(\w+)\"\)", re.DOTALL)
_CONSTANT = re.compile(r"constexpr\s+int64_t\s+(\w+)\s*=\s*(-?\d+)l?;")
_TYPES = {"std::string": "string", "StringList": "string[]", "bool": "bool"}  # whole numbers have many types


def declared(source: str) -> dict[str, tuple[str, str]]:
    """Return type and default of each parameter, as the table writes them."""
    constants = dict(_CONSTANT.findall(source))
    found: dict[str, tuple[str, str]] = {}
    for kind, name, default in _DECLARED.findall(source):
        found[name] = (_TYPES.get(kind, "integer"), plain(constants.get(default.strip(), default.strip())))
    for profile, name in _QOS.findall(source):  # isaac_ros_common/src/qos.cpp declares both
        found[name], found[f"{name}_depth"] = ("string", profile), ("integer", "0")
    return found


def plain(default: str) -> str:
    """Return a default of C++ without quotes, calls and products."""
    if default.startswith("StringList"):
        return "[]"
    if "*" in default:
        factors = [int(factor) for factor in default.split("*")]
        return str(math.prod(factors))
    return default.strip('"').capitalize() if default in ("true", "false") else default.strip('"')


def main() -> int:
    """Print every difference; the exit status is 1 if there is one."""
    table = release(sys.argv[1])
    differences = []
    for node, file in zip((TENSOR_RT, TRITON), sys.argv[2:4], strict=True):
        ours = {name: (each.type, str(each.default)) for name, each in table.nodes[node].parameters.items()}
        theirs = declared(Path(file).read_text(encoding="utf-8"))
        differences += [
            f"{node}: {name}: table {ours.get(name)}, sources {theirs.get(name)}"
            for name in sorted({*ours, *theirs})
            if ours.get(name) != theirs.get(name)
        ]
        sys.stdout.write(f"{node}: {len(ours)} parameters in the table, {len(theirs)} in the sources\n")
    sys.stdout.write("".join(f"{line}\n" for line in differences))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
