# docker buildx bake -f docker/docker-bake.hcl            every platform
# docker buildx bake -f docker/docker-bake.hcl jetpack6   one platform
# The rows are those of orchestrator/prepare_models/machine/platforms.json; a test compares the two.
variable "VERSION" { default = "dev" }
variable "REVISION" { default = "unknown" }
variable "CONTRACT" { default = "1" }
variable "REPOSITORY" { default = "prepare-models" }

group "default" { targets = ["rtx", "x86_64", "jetson"] }

target "_common" {
  context = "."
  target  = "runtime"
}

target "rtx" {
  inherits   = ["_common"]
  dockerfile = "docker/rtx.Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  tags       = ["${REPOSITORY}:${VERSION}-rtx"]
  args       = { BASE_IMAGE = "ubuntu:24.04", PLATFORM = "rtx", VERSION = VERSION, REVISION = REVISION, CONTRACT = CONTRACT }
}

target "x86_64" {
  name       = replace(row.name, ".", "_")
  inherits   = ["_common"]
  dockerfile = "docker/x86_64.Dockerfile"
  platforms  = ["linux/amd64"]
  matrix = {
    row = [
      { name = "x86_64-trt8.6", base = "nvcr.io/nvidia/tensorrt:24.01-py3" },
      { name = "x86_64-trt10.3", base = "nvcr.io/nvidia/tensorrt:24.08-py3" },
      { name = "x86_64-trt10.13", base = "nvcr.io/nvidia/tensorrt:25.09-py3" },
      { name = "x86_64-trt10.16", base = "nvcr.io/nvidia/tensorrt:26.04-py3" },
      { name = "x86_64-trt11", base = "nvcr.io/nvidia/tensorrt:26.06-py3" },
    ]
  }
  tags = ["${REPOSITORY}:${VERSION}-${row.name}"]
  args = { BASE_IMAGE = row.base, PLATFORM = row.name, VERSION = VERSION, REVISION = REVISION, CONTRACT = CONTRACT }
}

target "jetson" {
  name       = replace(row.name, ".", "_")
  inherits   = ["_common"]
  dockerfile = "docker/l4t.Dockerfile"
  platforms  = ["linux/arm64"]
  matrix = {
    row = [
      { name = "jetpack5-trt8.4", base = "nvcr.io/nvidia/l4t-tensorrt:r8.4.1-runtime" },
      { name = "jetpack5", base = "nvcr.io/nvidia/l4t-tensorrt:r8.5.2-runtime" },
      { name = "jetpack6.0", base = "nvcr.io/nvidia/l4t-tensorrt:r8.6.2-runtime" },
      { name = "jetpack6", base = "nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime" },
      { name = "jetpack7", base = "nvcr.io/nvidia/tensorrt:25.09-py3" },
      { name = "jetpack7.2", base = "nvcr.io/nvidia/tensorrt:26.04-py3" },
    ]
  }
  tags = ["${REPOSITORY}:${VERSION}-${row.name}"]
  args = { BASE_IMAGE = row.base, PLATFORM = row.name, VERSION = VERSION, REVISION = REVISION, CONTRACT = CONTRACT }
}
