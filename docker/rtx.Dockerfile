# TensorRT-RTX on any Debian or Ubuntu: for workstations without a GPU, and for CI. Needs no NVIDIA registry.
# Build: prepare-models image build --platform rtx
ARG BASE_IMAGE=ubuntu:24.04
FROM ${BASE_IMAGE} AS base
RUN python3 -c 'import ensurepip, venv' 2>/dev/null \
 || (apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates && rm -rf /var/lib/apt/lists/*)

FROM base AS packages
ARG PIP_INDEX_URL
COPY docker/requirements /requirements
# image build --ca FILE: pip trusts its certificates beside the base's own; nothing of it goes into the image.
RUN if [ -e /requirements/ca.pem ]; then cat /etc/ssl/certs/ca-certificates.crt /requirements/ca.pem > /ca.pem || true; fi
# pip stays behind in this stage. tensorrt-rtx-cu13 is published as source alone; everything else comes as wheels.
RUN if [ -e /ca.pem ]; then export PIP_CERT=/ca.pem; fi; \
    python3 -m venv /pip && python3 -m venv --without-pip /opt/prepare-models/venv \
 && install() { /pip/bin/python -m pip install --prefix /opt/prepare-models/venv --ignore-installed \
      --quiet --no-cache-dir --no-compile --no-deps --no-build-isolation --require-hashes \
      --only-binary :all: --no-binary tensorrt-rtx-cu13 -r "$1"; } \
 && /pip/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r /requirements/build.txt \
 && install /requirements/rtx.txt && install /requirements/verify.txt \
 && case "$(python3 -c 'import sys, platform; print(*sys.version_info[:2], platform.machine())')" in \
      '3 10 x86_64' | '3 12 x86_64') install /requirements/etlt.txt && install /requirements/codec.txt ;; \
    esac \
 && find /opt/prepare-models -depth \( -path '*/numpy/*/tests' -o -path '*/onnx/backend/test/data' \
      -o -path '*/onnxruntime/transformers' -o -name 'libonnxruntime.so.*' \) -exec rm -r {} +

FROM base AS runtime
COPY --from=packages /opt/prepare-models/venv /opt/prepare-models/venv
COPY entrypoint/prepare_models_entrypoint /opt/prepare-models/entrypoint/prepare_models_entrypoint
ENV PATH=/opt/prepare-models/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONPATH=/opt/prepare-models/entrypoint PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
ARG VERSION=unknown
ARG REVISION=unknown
ARG CONTRACT=unknown
ARG PLATFORM=rtx
LABEL org.opencontainers.image.title="prepare-models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      io.prepare-models.contract="${CONTRACT}" \
      io.prepare-models.platform="${PLATFORM}"
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["python3", "/opt/prepare-models/entrypoint/prepare_models_entrypoint/launch/start.py", "__main__"]
