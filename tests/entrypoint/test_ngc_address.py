"""Every published form of NGC's URLs names the same thing as its ngc:// form."""

from __future__ import annotations

import pytest

from prepare_models_entrypoint.sources.ngc.address import parse


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "https://catalog.ngc.nvidia.com/orgs/nvidia/teams/tao/models/net/files?version=v1.0",
            "ngc://nvidia/tao/net:v1.0",
        ),
        ("https://api.ngc.nvidia.com/v2/models/nvidia/tao/net/versions/v1.0/zip", "ngc://nvidia/tao/net:v1.0"),
        ("https://api.ngc.nvidia.com/v2/models/nvidia/net/versions/1/files/a/b.txt", "ngc://nvidia/net:1/a/b.txt"),
        ("https://example.com/v2/models/nvidia/net/versions/1/files/a", "None"),
        ("https://api.ngc.nvidia.com/v1/models", "None"),
        ("https://api.ngc.nvidia.com/v2/models/nvidia", "None"),
    ],
)
def test_urls_are_read_as_what_they_name(source: str, expected: str) -> None:
    assert str(parse(source, api="https://api.ngc.nvidia.com")) == expected
