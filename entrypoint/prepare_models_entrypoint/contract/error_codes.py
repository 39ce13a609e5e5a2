"""Every stable error code, one row each: of models, containers, bundles and the tool. docs/ lists them, too.

Besides them, the limits of the system that stop work on any file.
"""

from __future__ import annotations

import errno
from typing import Dict, NamedTuple


class ErrorCode(NamedTuple):
    """What a code means, and what to do if no better hint is known. ``where``: model, container, bundle or tool."""

    where: str
    meaning: str
    hint: str

    @property
    def advice(self) -> str:
        """The hint as errors word theirs: one line without Markdown, beginning in lower case, without a full stop."""
        text = self.hint.replace("`", "").rstrip(".")
        return text if self.hint.startswith("`") else text[:1].lower() + text[1:]


ERRORS: Dict[str, ErrorCode] = {
    "source-not-found": ErrorCode("model", "the source does not exist", "Check the source. A relative path starts at the manifest's directory, on a command line at the current one. On NGC, check org, team, version and file name."),
    "source-unreadable": ErrorCode("model", "the source exists but can't be read", "Give the user that runs the tool read access to the file."),
    "source-changed": ErrorCode("model", "the source changed while it was being converted", "Run again, once nothing writes to the file any more."),
    "source-unreachable": ErrorCode("model", "the server could not be reached, or the connection broke", "Check the network and the proxy variables (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`), then run again."),
    "source-refused": ErrorCode("model", "the server refused access", "Accept the licence or sign in where the source asks for it. Or download the file yourself and use its path."),
    "source-key-refused": ErrorCode("model", "NGC does not accept the key that was sent", "Make a new key at https://org.ngc.nvidia.com/setup, or unset `NGC_API_KEY`: public models need none."),
    "source-rate-limited": ErrorCode("model", "the server asks for a longer pause than a run waits", "Wait, then run again. What arrived is kept, and the download resumes."),
    "source-not-a-model": ErrorCode("model", "what was found is not a model (an HTML page, an empty file)", "Open the source in a browser: it may be a login page. Export or download the file again."),
    "network-intercepted": ErrorCode("model", "a proxy or captive portal answered in place of the server, with a web page or a redirect to one", "Sign in to the network with a browser, or let the proxy pass the host that the message names."),
    "tls-untrusted": ErrorCode("model", "the server's certificate is not trusted here", "Set `REQUESTS_CA_BUNDLE` (or `SSL_CERT_FILE`) to a PEM file with the CA of this network or server."),
    "licence-not-accepted": ErrorCode("model", "the licence of the model must be accepted first", "Read it on the page that the hint names. For NGC, accept it there while signed in; for `eula:` of a manifest, give `--accept-eula`."),
    "archive-invalid": ErrorCode("model", "the archive can't be read, or its member is not a regular file", "Look into the archive with `tar -tvf` or `unzip -l`."),
    "digest-mismatch": ErrorCode("model", "the bytes are not those that the manifest pins or the server lists", "Find out which of the digests is right before you change `sha256` in the manifest."),
    "output-name-taken": ErrorCode("model", "two sources would have the same file name in the output directory; neither was downloaded", "Fetch them one by one into different `--output` directories."),
    "disk-full": ErrorCode("model", "a disk is full", "Free space on the disk that the message names, then run again."),
    "output-not-writable": ErrorCode("model", "the models or cache directory can't be written", "Choose another `--models-dir` or cache directory, give the user write access, or move what is there."),
    "onnx-invalid": ErrorCode("model", "the file is not a valid ONNX model, or does not say which version of the operators it uses", "Check that the file is complete. `prepare-models inspect FILE` shows what it is."),
    "onnx-too-large": ErrorCode("model", "the ONNX file is larger than protobuf can hold", "Save the model with external data: `onnx.save(model, path, save_as_external_data=True)`."),
    "onnx-unsupported-operator": ErrorCode("model", "the backend does not take an operator, or a form of it, in a well-formed model", "Do what the hint says: fix an input with `onnx: {constants: ...}` or sizes with `static_shapes`, end the network before the operator with `outputs`, or export the model without it."),
    "network-empty": ErrorCode("model", "the model has no layers or no outputs", "Check that the file is the exported network: an empty or zeroed file parses without an error."),
    "inputs-unknown": ErrorCode("model", "the manifest names inputs that the model does not have", "Use the model's own input names under `inputs:`; the message lists them."),
    "inputs-mismatch": ErrorCode("model", "the manifest's shapes or values contradict the model or each other", "Change only the dimensions that the model leaves dynamic (-1), with min <= opt <= max."),
    "inputs-missing": ErrorCode("model", "the model has dynamic dimensions or shape tensors, and the manifest says nothing about them", "Copy the `inputs:` line of the hint into the manifest and set your own sizes."),
    "outputs-mismatch": ErrorCode("model", "the model's outputs are not those that the manifest expects", "Copy the `outputs:` line of the hint into the manifest, or remove `outputs`."),
    "tensor-names-mismatch": ErrorCode("model", "the names for ROS don't fit the model's inputs and outputs", "Give one name for each binding under `ros:`, or `--tensor-names BINDING=NAME`; the message names the bindings."),
    "etlt-key-missing": ErrorCode("model", "an encrypted model needs a key", "Add `key: {env: NAME}` or `key: {file: PATH}`. The key is on the model's NGC page."),
    "etlt-key-wrong": ErrorCode("model", "the key does not decrypt the model", "Take the key from the model's NGC page. Many TAO models use `tlt_encode` or `nvidia_tlt`."),
    "etlt-invalid": ErrorCode("model", "the file is not an .etlt container", "Download the file again. An ONNX file needs the ending `.onnx`."),
    "etlt-uff": ErrorCode("model", "the .etlt holds a UFF network", "Use the model's ONNX release, or convert it with tao-converter on TensorRT 8."),
    "etlt-codec-missing": ErrorCode("model", "NVIDIA's .etlt codec is not installed", "Install the codec as the hint says. It exists for x86_64 with Python 3.10 or 3.12."),
    "etlt-truncated": ErrorCode("model", "the .etlt ends too early", "Download the file again."),
    "calibration-cache-invalid": ErrorCode("model", "the calibration cache can't be read", "Download the cache of exactly this model version again, or use `precision: fp16`."),
    "calibration-cache-foreign": ErrorCode("model", "the calibration cache belongs to another model", "Use the cache that belongs to this model version: tensor names change when a model is exported again. The report lists the missing names."),
    "quantization-asymmetric": ErrorCode("model", "the model's own Q/DQ nodes are not symmetric int8, which is all that TensorRT takes", "Quantize again with symmetric activations and weights, or give the float model with `calibration: {images: DIR}`."),
    "calibration-cache-refused": ErrorCode("model", "the builder did not take the calibration cache", "Read the build log: it names the tensors. Use the cache of exactly this model version."),
    "calibration-missing": ErrorCode("model", "int8 needs a calibration cache or a model with Q/DQ nodes", "Add `calibration_cache:`, or make one with `calibration: {images: DIR}`."),
    "calibration-samples-unusable": ErrorCode("model", "the samples for a calibration can't be used", "Check directory, colour, layout and size of the samples under `calibration:`."),
    "onnx-external-data": ErrorCode("model", "the weights that belong to an ONNX file are missing or incomplete", "Download the weights files of the model, too, and keep them in its folder under their own names."),
    "onnx-node-invalid": ErrorCode("model", "a node of the model breaks the rules of ONNX", "Export the model again. `onnx: {sanitize: true}` repairs what constant folding can."),
    "onnx-outputs-unknown": ErrorCode("model", "the tensors that should become outputs are not in the model", "Use tensor names of the graph under `onnx: {outputs: [...]}`."),
    "rewriting-refused": ErrorCode("model", "the builder takes the model in fp32, but not after rewriting to the precision", "Use `precision: fp32`, and report it with the model."),
    "plugin-missing": ErrorCode("model", "an operator needs a plugin library that is not loaded", "Give the library under `plugins:`, or export the model without this operator."),
    "plugin-invalid": ErrorCode("model", "a plugin library is not the pinned one or does not load", "Check path and `sha256` under `plugins:`, and build the library for this TensorRT version and architecture."),
    "precision-not-delivered": ErrorCode("model", "the engine did not get the precision that was asked for", "`allow_fallback: true` takes what there is. Otherwise ask for what model and backend can give."),
    "memory-insufficient": ErrorCode("model", "the model needs more memory than this machine has", "Close other programs, add swap, or build on a machine with more memory."),
    "compute-capability-unsupported": ErrorCode("model", "this backend has no code for the GPU", "Use a TensorRT build that has code for this GPU. As a warning: the engine is portable and runs on other GPUs, not on this one."),
    "workspace-too-small": ErrorCode("model", "a layer has no implementation within the workspace limit", "Raise `builder.workspace`."),
    "converter-failed": ErrorCode("model", "the converter ended with an error", "Read the build log: it has the whole output of the converter."),
    "precision-unavailable": ErrorCode("model", "the precision can't be delivered by this backend and version", "Choose another `precision`, or a backend that delivers this one."),
    "builder-option-unavailable": ErrorCode("model", "this backend would ignore a builder option", "Remove the line from `builder:`, or build where it has an effect."),
    "converter-unavailable": ErrorCode("model", "the converter can't be used here", "Write `converter: auto`, or leave the line out."),
    "backend-missing": ErrorCode("model", "no TensorRT module in this environment", "Install the extra `local`, or run where TensorRT is installed: docs/install.md."),
    "backend-unusable": ErrorCode("model", "the TensorRT module does not start", "Full TensorRT needs an NVIDIA GPU and driver. Check both, or install the `local` extra again."),
    "build-failed": ErrorCode("model", "the builder gave up", "Read the build log that the report names: it has the builder's whole output."),
    "build-crashed": ErrorCode("model", "the build process died", "This is a crash inside TensorRT. Try another version of it, or simplify the model."),
    "build-timeout": ErrorCode("model", "the build took longer than allowed", "Raise `--timeout`."),
    "out-of-memory": ErrorCode("model", "the build ran out of memory", "Lower `builder.workspace`, close other programs, or build on a machine with more memory."),
    "engine-invalid": ErrorCode("model", "the plan file is not what a builder writes", "Build the engine again. If that does not help, report it with the model."),
    "inspect-failed": ErrorCode("model", "the process that reads a file died", "The file is damaged, or needs more memory or time than there is. The message says how the process ended."),
    "engine-unusable": ErrorCode("model", "this machine can't load the engine that it built", "Check that driver and TensorRT fit each other, and that Triton knows the types of inputs and outputs."),
    "shared-store-unreachable": ErrorCode("model", "the shared store can't be reached, or refuses access", "Check the URL, the network and the credentials; fsspec finds those where its own tools do."),
    "shared-engine-damaged": ErrorCode("model", "an engine in the shared store is not the one that was put there, or not all of it is there", "Put it there again where it was built: `prepare-models store push URL KEY --replace`."),
    "shared-engine-untrusted": ErrorCode("model", "no key that is trusted here signed an engine in the shared store, and no lock has its sha256", "Have it signed where it was built: `prepare-models store push URL KEY --sign KEY.pem`; trust that key here with `prepare-models trust add`, or lock engines with `prepare-models lock --engines`."),
    "engine-missing": ErrorCode("model", "there is no engine with a record to verify or relocate", "`prepare-models run` builds it."),
    "verification-failed": ErrorCode("model", "the engine's numbers are too far from its model's", "Check the calibration cache and the samples' preprocessing. docs/verify.md says how."),
    "verification-impossible": ErrorCode("model", "the numbers could not be compared", "Remove `verify:` from this model, or verify where a GPU runs the engine."),
    "verification-samples-unusable": ErrorCode("model", "the samples for a verification can't be used", "Check paths, input names and shapes under `verify:`."),
    "directory-provisioned": ErrorCode("model", "the model's directory has releases of `provision`, whose files are not written in place", "`prepare-models provision` brings what the manifest asks for; or choose another models directory."),
    "lint-findings": ErrorCode("model", "a consumer that the manifest names would refuse the new engine, so it was not switched to", "Follow the finding's hint; `consumers:` says whose rules count."),
    "health-failed": ErrorCode("model", "the health command refused the new version, and the one before serves again", "Read the command's output. The version is not tried again until the manifest changes, or with `--force`."),
    "release-rejected": ErrorCode("model", "the version was taken back before, by `rollback` or by the health command, so nothing switches to it", "Change the model in the manifest, or give `--force`; `prepare-models rollback NAME --to N` returns to a version that is kept."),
    "release-damaged": ErrorCode("model", "the engine of a release is not the one of its record", "`prepare-models provision` builds it again."),
    "rollback-impossible": ErrorCode("tool", "there is no version to go back to", "`--to N` names one of those that are kept; `provision --keep N` keeps more."),
    "entrypoint-failed": ErrorCode("model", "the entrypoint ended without a report", "Read the last lines in the message. If they name no cause that you can fix, report them."),
    "module-missing": ErrorCode("model", "a Python module is not installed with the entrypoint", "Install the extra that the hint names: docs/install.md."),
    "internal": ErrorCode("model", "a bug in prepare-models", "Please report it, with the message and the lines above it."),
    "docker-unreachable": ErrorCode("container", "no engine answers at the address", "Check `DOCKER_HOST` and the Docker context, or start Docker. `--executor local` needs none."),
    "docker-forbidden": ErrorCode("container", "this user has no access to the engine", "Add the user to the group `docker`, or give the engine the certificate or key that it needs."),
    "docker-lost": ErrorCode("container", "the engine went away in the middle of the work", "Check that it is running (`docker info`), then run again: finished work is kept."),
    "docker-remote": ErrorCode("container", "the engine is on another machine: its platform was not named, or a file can't be sent", "Give `--platform`, and files from directories that are not the system's."),
    "docker-refused": ErrorCode("container", "the engine refused for another reason, which the message quotes", "See its log: `journalctl -u docker`."),
    "gpu-unavailable": ErrorCode("container", "containers can't reach the GPU, or see none", "Install driver and Container Toolkit: `prepare-models doctor` says what is missing. Or `--gpu none`."),
    "driver-mismatch": ErrorCode("container", "the driver was updated while its old module is loaded", "Restart the machine."),
    "toolkit-missing": ErrorCode("container", "a program of NVIDIA's Container Toolkit is missing on the engine's machine", "Install NVIDIA's Container Toolkit and restart Docker."),
    "cdi-stale": ErrorCode("container", "a CDI specification names files of another driver", "Generate it again: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`."),
    "iptables-raw-missing": ErrorCode("container", "the kernel has no iptables table `raw`, which Docker 28 needs", "Do what the hint says, or install Docker 27."),
    "mounts-denied": ErrorCode("container", "Docker Desktop does not share a directory with containers", "Share it in its settings, or choose a directory below your home."),
    "docker-api-version": ErrorCode("container", "engine and client use different versions of the API", "Unset `DOCKER_API_VERSION`, or update the older of the two."),
    "docker-sdk-too-old": ErrorCode("container", "the Python package docker is too old for the installed requests", "`pip install --upgrade 'docker>=7.1'`"),
    "credential-helper-missing": ErrorCode("container", "the credential helper of `~/.docker/config.json` is not installed", "Install it, or remove `credsStore` and `credHelpers` there and run `docker login`."),
    "image-architecture": ErrorCode("container", "the image is for another architecture", "Take the image of this machine's platform: `prepare-models doctor` names it."),
    "image-build-failed": ErrorCode("container", "a step of `image build` failed", "Read the builder's lines. Behind your own index, authority or proxy: `--index-url`, `--ca`, `--build-arg`."),
    "registry-rate-limited": ErrorCode("container", "the registry limits pulls without a login", "`docker login`, or wait some hours."),
    "registry-untrusted": ErrorCode("container", "the engine does not trust the registry's certificate", "Put the authority's certificate into `/etc/docker/certs.d/REGISTRY/ca.crt`; check the clock."),
    "registry-timeout": ErrorCode("container", "the registry does not answer in time", "Check network, firewall and the daemon's proxy."),
    "driver-too-old": ErrorCode("container", "the driver does not support the image's CUDA", "Update the driver, or choose an image with an older CUDA."),
    "image-missing": ErrorCode("container", "the image is not there", "`prepare-models image build`, or `image pull`, or `image load`."),
    "image-unfit": ErrorCode("container", "the image is for another architecture or contract, or not one of this tool", "`prepare-models image build`; `doctor` names the platform."),
    "registry-refused": ErrorCode("container", "the registry requires a login, or refused it", "`docker login REGISTRY`."),
    "registry-unreachable": ErrorCode("container", "the registry does not answer", "Check network, DNS and the daemon's proxy. Without a network: `prepare-models image load`."),
    "archive-damaged": ErrorCode("container", "`image load` got a damaged file", "Copy it again and compare its sha256."),
    "container-killed": ErrorCode("container", "a container was killed from outside", "Run again; if it was memory, raise `--memory`."),
    "bundle-missing": ErrorCode("bundle", "no such file", "Check the path."),
    "bundle-damaged": ErrorCode("bundle", "a byte changed, or something is missing or extra", "Copy the bundle again, whole."),
    "bundle-incomplete": ErrorCode("bundle", "a base is not given, or a `${VAR}` of the manifest asks for a file that is not in it", "Give `--base`, or set the variable as when the bundle was made."),
    "bundle-signature": ErrorCode("bundle", "not signed by a trusted key, or older than the last that was accepted", "Get the newest bundle and its signature from someone you trust."),
    "bundle-version": ErrorCode("bundle", "made by a newer version of the tool", "Install that version."),
    "bundle-image": ErrorCode("bundle", "it does not have the platform's image, or the engine gave the image another ID", "Name a `--platform` that is in it, or use `--executor local`."),
    "bundle-changed": ErrorCode("bundle", "a file changed while the bundle was made", "Make it again, once nothing writes to its files."),
    "wheel-missing": ErrorCode("bundle", "pip can't get a wheel of the tool or of what it needs", "Give pip its index and network, or wheels with `--wheels DIR`, or leave the tool out with `--no-wheels`."),
    "wheel-changed": ErrorCode("bundle", "the place that the tool was installed from now has another version of it", "Install it again from there, or give its wheel with `--wheels DIR`."),
    "target-elsewhere": ErrorCode("tool", "a model is left out, as its target is not the device class that engines are built for here", "Build it on a machine of that class, or on a farm: `--executor dask`."),
    "farm-unreachable": ErrorCode("tool", "no scheduler of a farm answers at the address", "Start one (`dask scheduler`), or check address, certificates and network: docs/farm.md."),
    "farm-target-absent": ErrorCode("tool", "the farm has no worker of a device class that the manifest asks for", "Start a worker on a machine of that class: `prepare-models worker`. Or correct `targets:` of the manifest."),
    "farm-versions-differ": ErrorCode("tool", "a worker of the farm has another version of this tool, or of distributed", "Install the same versions on all machines of the farm, then start the workers again."),
    "farm-workers-differ": ErrorCode("tool", "two workers of one device class would build different engines", "Install the same packages on both, or start one of them with another `--target`."),
    "farm-worker-lost": ErrorCode("model", "every worker that tried to build the model died or lost its connection", "Read the workers' logs: most often memory ran out. Then run again."),
    "farm-lost": ErrorCode("tool", "the connection to the scheduler of the farm broke and did not come back", "Start the scheduler and the workers again, then run again: what was built is in the shared store."),
    "farm-engine-absent": ErrorCode("model", "a worker built the engine, and the shared store that this machine uses does not have it", "Give the workers and the run the same `--store`."),
    "farm-engine-differs": ErrorCode("model", "the engine that a worker built is not the one that was planned", "Let the workers see the same files under the same paths, or give sources as URLs."),
    "farm-not-under-way": ErrorCode("model", "nothing is being built that `--attach` could wait for", "Run without `--attach`."),
    "failed": ErrorCode("tool", "the command did not do what it was asked", "Follow the message."),
    "usage": ErrorCode("tool", "the command line can't be followed", "`prepare-models COMMAND --help`."),
    "manifest-invalid": ErrorCode("tool", "the manifest has problems", "Correct the lines that the message names."),
    "environment": ErrorCode("tool", "this machine can't do what was asked", "Follow the message; `prepare-models doctor` looks at the machine."),
    "lock-signature": ErrorCode("tool", "a lock is not signed by a trusted key, or older than the last that was accepted", "Get the newest lock and its signature from someone you trust."),
    "keys-signature": ErrorCode("tool", "a list of keys is not signed by a key that may renew lists, or not newer", "Get the newest list from someone you trust."),
    "lock-drift": ErrorCode("tool", "something is not as it was locked", "Look at the differences; `prepare-models lock` accepts them."),
    "sources-failed": ErrorCode("tool", "sources could not be fetched", "Follow the hint of each."),
    "interrupted": ErrorCode("tool", "the run was stopped from outside", "Run again: finished work is kept."),
}  # fmt: skip


class Limit(NamedTuple):
    """A limit of the system: what happened, what to do about it, and the code of a model's error."""

    what: str
    fix: str
    code: str = "out-of-memory"


_OUTPUT = "output-not-writable"
# What comes from a disk, a network share or a FUSE mount that fails.
_FAILING = (
    errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENXIO, errno.ENODEV, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG,
)  # fmt: skip
LIMITS = {
    errno.EMFILE: Limit("too many open files", "raise the limit: ulimit -n 4096, or do less at once: --jobs 1"),
    errno.ENFILE: Limit("too many open files on this machine", "end other programs, or raise it: sysctl fs.file-max"),
    errno.ENOMEM: Limit("no memory left", "end other programs, or add swap, then run again: finished work is kept"),
    errno.EFBIG: Limit("a file would exceed the limit for its size", "raise it: ulimit -f unlimited", _OUTPUT),
    errno.EAGAIN: Limit("no more processes can be started", "end other programs, or raise the limit: ulimit -u"),
    **dict.fromkeys(_FAILING, Limit("a disk or its connection failed", "look for disk errors: sudo dmesg", _OUTPUT)),
}
