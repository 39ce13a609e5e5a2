#!/bin/bash
# Brings the tool, its tests and TensorRT to a machine with a GPU that has no network, as pieces of at most 62 MiB.
#   carry.sh pack OUT NAME [--python PREFIX] WHEEL...  here: writes OUT/NAME-00, OUT/NAME-01, ...
#   carry.sh unpack PIECES NAME TARGET                 there: makes the virtual environment TARGET/NAME
# --python brings an installation of Python (TensorRT 8 has wheels up to 3.10), the locked packages, the tool and its
# tests along: wanted once for each TARGET, before or with the first wheels. Wheels are unpacked as they are, as TensorRT 8.6
# checks the digests of its libraries. Afterwards: . TARGET/NAME/gpu.sh && cd TARGET/code && python -m pytest tests/gpu
set -euo pipefail
verb=${1:-} here=$(cd "$(dirname "$0")/../.." && pwd)
# what no test of tests/gpu imports, or what the wheels replace
spared='tensorrt-rtx-cu13|tensorrt-rtx-cu13-bindings|tensorrt-rtx-cu13-libs|ruff|mypy|nox|uv|vl-convert-python|types-.*|pip'

pack() { # OUT NAME [--python PREFIX] WHEEL...
  local out name prefix=
  out=$(realpath -m "$1") name=$2 && shift 2
  [ "${1:-}" != --python ] || { prefix=$2 && shift 2; }
  place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT  # global: the trap outlives this function
  [ -z "$prefix" ] || base "$prefix" "$place"
  mkdir -p "$out" "$place/wheels"
  for wheel in "$@"; do ln -s "$(realpath "$wheel")" "$place/wheels/"; done
  cp "$here/tests/gpu/carry.sh" "$place/"
  tar chf - -C "$place" . | split -b 61500000 -d - "$out/$name-"
  ls -l "$out/$name"-*
}

base() { # PREFIX PLACE: one archive of Python, packages and the tool
  local place=$2 python
  python=$(ls "$1"/bin/python3.[0-9]* | grep -v -e - | head -1)
  mkdir -p "$place/base"
  awk -v spared="^($spared)==" '/^[^ #]/ { drop = $1 ~ spared } !drop' "$here/.ci/locks/dev.txt" > "$place/requirements"
  "$python" -m pip install -q --target "$place/base/site" --no-deps --no-compile --require-hashes --only-binary=:all: \
    -r "$place/requirements"
  "$python" -m pip install -q --target "$place/base/site" --no-deps --no-compile --require-hashes --only-binary=:all: \
    -r "$here/.ci/locks/etlt.txt" || echo "without NVIDIA's codec: tests of .etlt are skipped" >&2
  tar cf - -C "$1" --exclude=__pycache__ --exclude=test --exclude='*.a' --exclude=site-packages bin lib |
    (mkdir "$place/base/python" && tar xf - -C "$place/base/python")
  (cd "$here" && git ls-files -z orchestrator entrypoint tests examples benchmarks docker pyproject.toml README.md LICENSE |
    tar cf - --null -T -) | (mkdir "$place/base/code" && tar xf - -C "$place/base/code")
  XZ_OPT=-2T0 tar cJf "$place/base.tar.xz" -C "$place/base" .
  rm -rf "$place/base" "$place/requirements"
}

unpack() { # PIECES NAME TARGET
  local pieces=$1 name=$2 target place wheels
  target=$(realpath -m "$3") && mkdir -p "$target"
  place=$target/$name wheels=$target/$name-wheels && mkdir -p "$wheels"
  cat "$pieces/$name"-* | tar xf - -C "$wheels"
  [ ! -e "$wheels/base.tar.xz" ] || { tar xJf "$wheels/base.tar.xz" -C "$target" && rm "$wheels/base.tar.xz"; }
  for wheel in "$wheels"/wheels/*.whl; do
    [ ! -e "$wheel" ] || { python3 -m zipfile -e "$wheel" "$wheels" && rm "$wheel"; } &
  done
  wait
  local python
  python=$(ls "$target"/python/bin/python3.[0-9]* | grep -v - | head -1)
  export LD_LIBRARY_PATH=$target/python/lib:${LD_LIBRARY_PATH:-}
  "$python" -m venv --without-pip "$place"
  printf '%s\n' "$wheels" "$target/site" "$target/code/orchestrator" "$target/code/entrypoint" > \
    "$(ls -d "$place"/lib/python3*/site-packages)/tool.pth"
  printf '#!%s/bin/python\nimport sys\nfrom prepare_models.__main__ import main\nsys.exit(main())\n' "$place" > \
    "$place/bin/prepare-models"
  chmod 0755 "$place/bin/prepare-models"
  stand_ins "$wheels" "$place/stand-ins"
  local libraries
  libraries=$(find "$wheels" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
  cat > "$place/gpu.sh" << S
export PATH=$place/bin:\$PATH PYTHONDONTWRITEBYTECODE=1 CUDA_MODULE_LOADING=LAZY
export LD_LIBRARY_PATH=$target/python/lib:$libraries:$place/stand-ins:\${LD_LIBRARY_PATH:-}:/usr/local/nvidia/lib64:/usr/local/nvidia/lib
S
  echo ". $place/gpu.sh"
}

stand_ins() { # WHEELS OUT: libraries that are linked and missing, with functions that return 0; needs cc and nm
  local library
  mkdir -p "$2"
  find "$1" -name '*.so*' -exec ldd {} + 2> /dev/null | awk '/not found/ { print $1 }' | { grep -E '^lib(cublas|cudnn)' || true; } | sort -u |
    while read -r library; do
      find "$1" -name '*.so*' -exec nm -D --undefined-only {} + 2> /dev/null | awk '{ print $NF }' | grep "@$library" |
        sed 's/@.*//' | sort -u | awk '{ print "int " $1 "(void) { return 0; }" }' > "$2/source.c"
      echo "$library { global: *; };" > "$2/version"
      cc -shared -fPIC -Wl,-soname,"$library" -Wl,--version-script="$2/version" -o "$2/$library" "$2/source.c"
      echo "a stand-in for $library" >&2
    done
}

case $verb in
  pack | unpack) shift && "$verb" "$@" ;;
  *) sed -n '2,7p' "$0" >&2 && exit 2 ;;
esac
