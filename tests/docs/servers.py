"""What the pages ask for on NGC, from a simulator; the network behind each name is the quickstart's."""

from __future__ import annotations

from tests.docs.belongings import ROOT
from tests.simulators.ngc import NgcSimulator

_MODEL = "nvidia/tao/peoplesemsegnet"
_FILES = {
    "deployable_shuffleseg_unet_onnx_v1.0": "peoplesemsegnet_shuffleseg.onnx",
    "deployable_shuffleseg_unet_v1.0": "peoplesemsegnet_shuffleseg_etlt.etlt",
}


class Servers:
    """Run until the block ends."""

    def __init__(self) -> None:
        self._ngc = NgcSimulator()

    def __enter__(self) -> Servers:  # noqa: PYI034  # Self is not in Python 3.10's typing
        content = (ROOT / "examples/quickstart/model.onnx").read_bytes()
        for version, file in _FILES.items():
            self._ngc.publish(_MODEL, version, {file: content})
        self._ngc.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._ngc.__exit__()

    def variables(self) -> dict[str, str]:
        """Return what leads the tool to these servers."""
        return {"NGC_CLI_API_URL": self._ngc.url, "NGC_CLI_AUTH_URL": self._ngc.url, "NO_PROXY": "127.0.0.1"}
