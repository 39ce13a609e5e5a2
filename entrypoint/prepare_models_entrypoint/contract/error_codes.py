"""Every stable error code in one row: of models, containers, bundles and the tool. docs/ lists them, too."""

from __future__ import annotations

from typing import Dict, NamedTuple


class ErrorCode(NamedTuple):
    """What a code means, and what to do where nothing more is known. ``where``: model, container, bundle or tool."""

    where: str
    meaning: str
    hint: str


ERRORS: Dict[str, ErrorCode] = {
    "source-not-found": ErrorCode(
        "model",
        "the source does not exist",
        "Check the source. A relative path starts at the manifest's directory. On NGC, check org, team, version and file name.",
    ),
    "source-unreadable": ErrorCode(
        "model",
        "the source exists but can't be read",
        "Give the user that runs the tool read access to the file.",
    ),
    "source-changed": ErrorCode(
        "model",
        "the source changed while it was being converted",
        "Run again, once nothing writes to the file any more.",
    ),
    "source-unreachable": ErrorCode(
        "model",
        "the server could not be reached or broke off",
        "Check the network and the proxy variables (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`), then run again.",
    ),
    "source-refused": ErrorCode(
        "model",
        "the server refused access",
        "Accept the licence or sign in where the source asks for it. Or download the file yourself and use its path.",
    ),
    "source-key-refused": ErrorCode(
        "model",
        "NGC does not accept the key that was sent",
        "Make a new key at https://org.ngc.nvidia.com/setup, or unset `NGC_API_KEY`: public models need none.",
    ),
    "source-rate-limited": ErrorCode(
        "model",
        "the server wants fewer requests, for longer than a run waits",
        "Wait, then run again. What came is kept and continued.",
    ),
    "source-not-a-model": ErrorCode(
        "model",
        "what was found is no model (an HTML page, an empty file)",
        "Open the source in a browser: it may be a login page. Export or download the file again.",
    ),
    "network-intercepted": ErrorCode(
        "model",
        "a proxy or captive portal answered in place of the server, with a web page or a redirect to one",
        "Sign in to the network with a browser, or let the proxy pass the host that the message names.",
    ),
    "tls-untrusted": ErrorCode(
        "model",
        "the server's certificate is not trusted here",
        "Set `REQUESTS_CA_BUNDLE` (or `SSL_CERT_FILE`) to a PEM file with the CA of this network or server.",
    ),
    "licence-not-accepted": ErrorCode(
        "model",
        "the licence of the model must be accepted first",
        "Read it on the page that the hint names. For NGC, accept it there while signed in; for `eula:` of a manifest, give `--accept-eula`.",
    ),
    "archive-invalid": ErrorCode(
        "model",
        "the archive can't be read, or its member is no plain file",
        "Look into the archive with `tar -tvf` or `unzip -l`.",
    ),
    "digest-mismatch": ErrorCode(
        "model",
        "the bytes are not those that the manifest pins or the server lists",
        "Find out which of the digests is right before you change `sha256` in the manifest.",
    ),
    "output-name-taken": ErrorCode(
        "model",
        "two sources would have the same file name in the output directory; neither was downloaded",
        "Fetch one of them into another directory.",
    ),
    "disk-full": ErrorCode(
        "model",
        "a disk had no room",
        "Free space on the disk that the message names, then run again.",
    ),
    "output-not-writable": ErrorCode(
        "model",
        "the models or cache directory can't be written",
        "Choose another `--models-dir` or cache directory, give the user write access, or move away what stands there.",
    ),
    "onnx-invalid": ErrorCode(
        "model",
        "the file is no valid ONNX model",
        "Check that the file is complete. `prepare-models inspect FILE` shows what it is.",
    ),
    "onnx-too-large": ErrorCode(
        "model",
        "the ONNX file is larger than protobuf can hold",
        "Save the model with external data: `onnx.save(model, path, save_as_external_data=True)`.",
    ),
    "onnx-unsupported-operator": ErrorCode(
        "model",
        "the backend does not know an operator of the model",
        "Export the model with operators that TensorRT knows, or use a backend that has the plugin.",
    ),
    "network-empty": ErrorCode(
        "model",
        "the model has no layers, inputs or outputs",
        "Check that the file is the exported network: an empty or zeroed file parses without an error.",
    ),
    "inputs-unknown": ErrorCode(
        "model",
        "the manifest names inputs that the model does not have",
        "Use the model's own input names under `inputs:`; the message lists them.",
    ),
    "inputs-mismatch": ErrorCode(
        "model",
        "the manifest's shapes contradict the model",
        "Change only the dimensions that the model leaves dynamic (-1), with min <= opt <= max.",
    ),
    "inputs-missing": ErrorCode(
        "model",
        "the model has dynamic dimensions and the manifest no shapes for them",
        "Copy the `inputs:` line of the hint into the manifest and set your own sizes.",
    ),
    "outputs-mismatch": ErrorCode(
        "model",
        "the model's outputs are not those that the manifest expects",
        "Copy the `outputs:` line of the hint into the manifest, or remove `outputs`.",
    ),
    "tensor-names-mismatch": ErrorCode(
        "model",
        "the names for ROS don't fit the model's inputs and outputs",
        "Give one name for each binding under `ros:`, or `--tensor-names BINDING=NAME`; the message names the bindings.",
    ),
    "etlt-key-missing": ErrorCode(
        "model",
        "an encrypted model needs a key",
        "Add `key: {env: NAME}` or `key: {file: PATH}`. The key stands on the model's NGC page.",
    ),
    "etlt-key-wrong": ErrorCode(
        "model",
        "the key does not decrypt the model",
        "Take the key from the model's NGC page. Many TAO models use `tlt_encode` or `nvidia_tlt`.",
    ),
    "etlt-invalid": ErrorCode(
        "model",
        "the file is no .etlt container",
        "Download the file again. An ONNX file needs the ending `.onnx`.",
    ),
    "etlt-uff": ErrorCode(
        "model",
        "the .etlt holds a UFF network",
        "Use the model's ONNX release, or convert it with tao-converter on TensorRT 8.",
    ),
    "etlt-codec-missing": ErrorCode(
        "model",
        "NVIDIA's .etlt codec is not installed",
        "Install the codec as the hint says. It exists for x86_64 with Python 3.10 or 3.12.",
    ),
    "etlt-truncated": ErrorCode(
        "model",
        "the .etlt ends too early",
        "Download the file again.",
    ),
    "calibration-cache-invalid": ErrorCode(
        "model",
        "the calibration cache can't be read",
        "Download the cache of exactly this model version again, or use `precision: fp16`.",
    ),
    "calibration-cache-foreign": ErrorCode(
        "model",
        "the calibration cache belongs to another model",
        "Use the cache that belongs to this model version: tensor names change when a model is exported anew. The report lists the missing names.",
    ),
    "calibration-cache-refused": ErrorCode(
        "model",
        "the builder did not take the calibration cache",
        "Read the build log: it names the tensors. Use the cache of exactly this model version.",
    ),
    "calibration-missing": ErrorCode(
        "model",
        "int8 needs a calibration cache or a model with Q/DQ nodes",
        "Add `calibration_cache:`, or make one with `calibration: {images: DIR}`.",
    ),
    "calibration-samples-unusable": ErrorCode(
        "model",
        "the samples for a calibration can't be used",
        "Check `calibration:`: directory, colour, layout and the size of the samples.",
    ),
    "onnx-external-data": ErrorCode(
        "model",
        "the weights that belong to an ONNX file are missing or incomplete",
        "Put the weights files beside the `.onnx` file, under their own names.",
    ),
    "onnx-node-invalid": ErrorCode(
        "model",
        "a node of the model lacks what its operator needs",
        "Export the model again. `onnx: {sanitize: true}` repairs what constant folding can.",
    ),
    "onnx-outputs-unknown": ErrorCode(
        "model",
        "the tensors that shall become outputs are not in the model",
        "Use tensor names of the graph under `onnx: {outputs: [...]}`.",
    ),
    "plugin-missing": ErrorCode(
        "model",
        "an operator needs a plugin library that is not loaded",
        "Give the library under `plugins:`, or export the model without this operator.",
    ),
    "plugin-invalid": ErrorCode(
        "model",
        "a plugin library is not the pinned one or does not load",
        "Check path and `sha256` under `plugins:`, and build the library for this TensorRT version and architecture.",
    ),
    "precision-not-delivered": ErrorCode(
        "model",
        "the engine did not get the precision that was asked for",
        "`allow_fallback: true` takes what there is. Otherwise ask for what model and backend can give.",
    ),
    "memory-insufficient": ErrorCode(
        "model",
        "the model needs more memory than this machine has",
        "Close other programs, add swap, or build on a machine with more memory.",
    ),
    "compute-capability-unsupported": ErrorCode(
        "model",
        "this backend has no code for the GPU",
        "Use a TensorRT build that has code for this GPU. As a warning: the engine is portable and runs on other GPUs, not on this one.",
    ),
    "workspace-too-small": ErrorCode(
        "model",
        "a layer has no implementation within the workspace limit",
        "Raise `builder.workspace`.",
    ),
    "converter-failed": ErrorCode(
        "model",
        "the converter ended with an error",
        "Read the build log: it has the whole output of the converter.",
    ),
    "precision-unavailable": ErrorCode(
        "model",
        "the precision can't be delivered by this backend and version",
        "Choose another `precision`, or a backend that delivers this one.",
    ),
    "builder-option-unavailable": ErrorCode(
        "model",
        "this backend would ignore a builder option",
        "Remove the line from `builder:`, or build where it counts.",
    ),
    "converter-unavailable": ErrorCode(
        "model",
        "the converter can't be used here",
        "Write `converter: auto`, or leave the line out.",
    ),
    "backend-missing": ErrorCode(
        "model",
        "no TensorRT module in this environment",
        "`pip install 'prepare-models[local]'`, or run where TensorRT is installed.",
    ),
    "backend-unusable": ErrorCode(
        "model",
        "the TensorRT module does not start",
        "Full TensorRT needs an NVIDIA GPU and driver. Check both, or install the `local` extra again.",
    ),
    "build-failed": ErrorCode(
        "model",
        "the builder gave up",
        "Read the build log that the report names: it has the builder's whole output.",
    ),
    "build-crashed": ErrorCode(
        "model",
        "the build process died",
        "This is a crash inside TensorRT. Try another version of it, or simplify the model.",
    ),
    "build-timeout": ErrorCode(
        "model",
        "the build took longer than allowed",
        "Raise `--timeout`.",
    ),
    "out-of-memory": ErrorCode(
        "model",
        "the build ran out of memory",
        "Lower `builder.workspace`, close other programs, or build on a machine with more memory.",
    ),
    "engine-invalid": ErrorCode(
        "model",
        "the plan file is not what a builder writes",
        "Build the engine again. If that does not help, report it with the model.",
    ),
    "inspect-failed": ErrorCode(
        "model",
        "the process that reads a file died of it",
        "The file is damaged, or needs more memory or time than there is. The message says how the process ended.",
    ),
    "engine-unusable": ErrorCode(
        "model",
        "this machine can't load the engine that it built",
        "Check that driver and TensorRT fit each other, and that Triton knows the types of inputs and outputs.",
    ),
    "engine-missing": ErrorCode(
        "model",
        "there is no engine to verify",
        "`prepare-models run` builds it.",
    ),
    "verification-failed": ErrorCode(
        "model",
        "the engine's numbers are too far from its model's",
        "Check the calibration cache and the samples' preprocessing. See [verify.md](verify.md).",
    ),
    "verification-impossible": ErrorCode(
        "model",
        "the numbers could not be compared",
        "Remove `verify:` from this model, or verify where a GPU runs the engine.",
    ),
    "verification-samples-unusable": ErrorCode(
        "model",
        "the samples for a verification can't be used",
        "Check `verify:`: paths, input names and shapes.",
    ),
    "entrypoint-failed": ErrorCode(
        "model",
        "the entrypoint ended without a report",
        "Read the last lines in the message. If they name no cause of yours, report them.",
    ),
    "module-missing": ErrorCode(
        "model",
        "a Python module is not installed beside the entrypoint",
        "`pip install 'prepare-models[local]'`.",
    ),
    "internal": ErrorCode(
        "model",
        "a bug in prepare-models",
        "Please report it, with the message and the lines above it.",
    ),
    "docker-unreachable": ErrorCode(
        "container",
        "no engine answers at the address",
        "Check `DOCKER_HOST` and the Docker context, or start Docker. `--executor local` needs none.",
    ),
    "docker-forbidden": ErrorCode(
        "container",
        "this user may not talk to the engine",
        "Add the user to the group `docker`, or give the engine the certificate or key that it wants.",
    ),
    "docker-lost": ErrorCode(
        "container",
        "the engine went away in mid-work",
        "See that it is up (`docker info`), then run again: what is done is kept.",
    ),
    "docker-remote": ErrorCode(
        "container",
        "the engine is on another machine: nobody said which platform that is, or a file can't be sent",
        "Give `--platform`, and files from directories that are not the system's.",
    ),
    "docker-refused": ErrorCode(
        "container",
        "the engine refused for another reason, in its own words",
        "See its log: `journalctl -u docker`.",
    ),
    "gpu-unavailable": ErrorCode(
        "container",
        "no way to the GPU, or no GPU inside",
        "Install driver and Container Toolkit: `prepare-models doctor` says what is missing. Or `--gpu none`.",
    ),
    "driver-too-old": ErrorCode(
        "container",
        "the driver does not serve the image's CUDA",
        "Update the driver, or choose an image with an older CUDA.",
    ),
    "image-missing": ErrorCode(
        "container",
        "the image is not there",
        "`prepare-models image build`, or `image pull`, or `image load`.",
    ),
    "image-unfit": ErrorCode(
        "container",
        "the image is for another architecture or contract, or not one of this tool",
        "`prepare-models image build`; `doctor` names the platform.",
    ),
    "registry-refused": ErrorCode(
        "container",
        "the registry wants a log-in, or refused it",
        "`docker login REGISTRY`.",
    ),
    "registry-unreachable": ErrorCode(
        "container",
        "the registry does not answer",
        "Check network, DNS and the daemon's proxy. Without a network: `prepare-models image load`.",
    ),
    "archive-damaged": ErrorCode(
        "container",
        "`image load` got a damaged file",
        "Copy it again and compare its sha256.",
    ),
    "container-killed": ErrorCode(
        "container",
        "a container was killed from outside",
        "Run again; if it was memory, raise `--memory`.",
    ),
    "bundle-missing": ErrorCode(
        "bundle",
        "no such file",
        "Check the path.",
    ),
    "bundle-damaged": ErrorCode(
        "bundle",
        "a byte is not as it was written, or something is missing or too much",
        "Copy the bundle again, with all of its volumes.",
    ),
    "bundle-incomplete": ErrorCode(
        "bundle",
        "a base is not given, or a `${VAR}` of the manifest asks for a file that is not in it",
        "Give `--base`, or set the variable as when the bundle was made.",
    ),
    "bundle-signature": ErrorCode(
        "bundle",
        "not signed, or not by this key",
        "Get the bundle from whom you trust, and the key that belongs to it.",
    ),
    "bundle-version": ErrorCode(
        "bundle",
        "made by a newer version of the tool",
        "Install that version.",
    ),
    "bundle-image": ErrorCode(
        "bundle",
        "it does not have the platform's image, or the engine gave the image another ID",
        "Name a `--platform` that is in it, or use `--executor local`.",
    ),
    "bundle-changed": ErrorCode(
        "bundle",
        "a file changed while the bundle was made",
        "Make it again, once nothing writes to its files.",
    ),
    "wheel-missing": ErrorCode(
        "bundle",
        "a wheel for the target can't be had",
        "Choose a Python and platform for which the package has wheels.",
    ),
    "wheel-changed": ErrorCode(
        "bundle",
        "an installed package was changed",
        "Install the package anew.",
    ),
    "failed": ErrorCode(
        "tool",
        "the command did not do what it was asked",
        "Follow the message.",
    ),
    "usage": ErrorCode(
        "tool",
        "the command line can't be followed",
        "`prepare-models COMMAND --help`.",
    ),
    "manifest-invalid": ErrorCode(
        "tool",
        "the manifest has problems",
        "Correct the lines that the message names.",
    ),
    "environment": ErrorCode(
        "tool",
        "this machine can't do what was asked",
        "Follow the message; `prepare-models doctor` looks at the machine.",
    ),
    "lock-drift": ErrorCode(
        "tool",
        "something is not as it was locked",
        "Look at the differences; `prepare-models lock` accepts them.",
    ),
    "sources-failed": ErrorCode(
        "tool",
        "sources could not be fetched",
        "Follow the hint of each.",
    ),
    "interrupted": ErrorCode(
        "tool",
        "the run was stopped from outside",
        "Run again: what is done is kept.",
    ),
}
