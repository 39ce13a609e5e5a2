# Full TensorRT for x86_64 with a discrete GPU. TensorRT, CUDA and Python are the base image's own.
# Build: prepare-models image build --platform x86_64-trt10.13
ARG BASE_IMAGE=nvcr.io/nvidia/tensorrt:25.09-py3
FROM ${BASE_IMAGE} AS packages
ARG PIP_INDEX_URL
COPY docker/requirements /requirements
# image build --ca FILE: pip trusts its certificates beside the base's own; nothing of it goes into the image.
RUN if [ -e /requirements/ca.pem ]; then cat /etc/ssl/certs/ca-certificates.crt /requirements/ca.pem > /ca.pem || true; fi
ARG PLATFORM=x86_64
RUN python3 -m venv /pip 2>/dev/null \
 || (apt-get update && apt-get install -y --no-install-recommends python3-venv && python3 -m venv /pip)
RUN if [ -e /ca.pem ]; then export PIP_CERT=/ca.pem; fi; \
    install() { /pip/bin/python -m pip install --target /opt/prepare-models/packages \
      --quiet --no-cache-dir --no-compile --no-deps --only-binary :all: --require-hashes -r "$1"; } \
 && /pip/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r /requirements/pip.txt \
 && case "${PLATFORM}" in *-trt11*) install /requirements/rewrite.txt ;; *) install /requirements/entrypoint.txt ;; esac \
 && install /requirements/verify.txt \
 && case "$(python3 -c 'import sys, platform; print(*sys.version_info[:2], platform.machine())')" in \
      '3 10 x86_64' | '3 12 x86_64') install /requirements/etlt.txt && install /requirements/codec.txt ;; \
    esac \
 && find /opt/prepare-models -depth \( -path '*/numpy/*/tests' -o -path '*/onnx/backend/test/data' \
      -o -path '*/onnxruntime/transformers' -o -name 'libonnxruntime.so.*' \) -exec rm -r {} +

FROM ${BASE_IMAGE} AS runtime
COPY --from=packages /opt/prepare-models/packages /opt/prepare-models/packages
COPY entrypoint/prepare_models_entrypoint /opt/prepare-models/entrypoint/prepare_models_entrypoint
ENV PYTHONPATH=/opt/prepare-models/entrypoint:/opt/prepare-models/packages \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
ARG VERSION=unknown
ARG REVISION=unknown
ARG CONTRACT=unknown
ARG PLATFORM=x86_64
LABEL org.opencontainers.image.title="prepare-models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      io.prepare-models.contract="${CONTRACT}" \
      io.prepare-models.platform="${PLATFORM}"
USER 1000:1000
WORKDIR /tmp
# The base image's own entrypoint prints a banner; events must stand alone on standard output.
ENTRYPOINT ["python3", "/opt/prepare-models/entrypoint/prepare_models_entrypoint/launch/start.py", "__main__"]

# Optional, --target tao-converter: NVIDIA's converter for UFF models, which you download from NGC after accepting its
# licence and put beside this file's context as docker/tao-converter/tao-converter.
FROM runtime AS tao-converter
USER 0:0
COPY docker/tao-converter/tao-converter /opt/nvidia/tao/tao-converter-x86-tensorrt8.0/tao-converter
RUN chmod 0755 /opt/nvidia/tao/tao-converter-x86-tensorrt8.0/tao-converter \
 && ln -s tao-converter-x86-tensorrt8.0/tao-converter /opt/nvidia/tao/tao-converter
USER 1000:1000
