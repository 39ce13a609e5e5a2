"""Write the table of Triton's configuration messages from the descriptors in tritonclient.

usage: python .ci/triton_fields.py entrypoint/prepare_models_entrypoint/consumers/triton/model_config.json
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from tritonclient.grpc import model_config_pb2

_KINDS = {getattr(FieldDescriptor, f"TYPE_{kind.upper()}"): kind for kind in (
    "double", "float", "int64", "uint64", "int32", "bool", "string", "message", "enum", "uint32",
)}  # fmt: skip


def field(described: FieldDescriptor) -> dict[str, Any]:
    """Return a field without false or absent properties."""
    of = described.message_type or described.enum_type
    oneof = described.containing_oneof
    entry = {
        "kind": _KINDS[described.type],
        "of": of.full_name if of else None,
        "repeated": described.is_repeated,
        "oneof": oneof.name if oneof else None,
    }
    return {key: value for key, value in entry.items() if value}


def collect(message: Descriptor, messages: dict[str, Any], enums: dict[str, EnumDescriptor]) -> None:
    """Add a message and the messages that it contains."""
    if message.full_name in messages:
        return
    messages[message.full_name] = {each.name: field(each) for each in message.fields}
    for each in message.fields:
        if each.message_type:
            collect(each.message_type, messages, enums)
        if each.enum_type:
            enums[each.enum_type.full_name] = each.enum_type


def main() -> None:
    """Write the file: one line for each field and each enum, so that a new release gives a readable diff."""
    root = model_config_pb2.ModelConfig.DESCRIPTOR
    messages: dict[str, Any] = {}
    enums: dict[str, EnumDescriptor] = {}
    collect(root, messages, enums)
    head = {
        "source": "github.com/triton-inference-server/common, protobuf/model_config.proto",
        "version": f"tritonclient {version('tritonclient')}",
        "root": root.full_name,
    }
    numbers = {name: {value.name: value.number for value in enum.values} for name, enum in enums.items()}
    bodies = [
        f"    {json.dumps(name)}: {{\n"
        + ",\n".join(f"      {json.dumps(key)}: {json.dumps(entry)}" for key, entry in fields.items())
        + "\n    }"
        for name, fields in messages.items()
    ]
    text = "{\n" + "".join(f"  {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    text += (
        '  "enums": {\n' + ",\n".join(f"    {json.dumps(k)}: {json.dumps(v)}" for k, v in numbers.items()) + "\n  },\n"
    )
    text += '  "messages": {\n' + ",\n".join(bodies) + "\n  }\n}\n"
    Path(sys.argv[1]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
