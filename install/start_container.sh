#!/usr/bin/env bash
# The entry point of the image of Dockerfile.l4t: the program, and on JetPack 4 first TensorRT's Python module for it.
# The NVIDIA runtime mounts the board's headers and libraries when a container starts, so it cannot be compiled before. It
# is kept in the volume of engines until TensorRT or the source of the module changes.
set -uo pipefail

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jetpack4=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/jetpack4.pth

if [ -e "$jetpack4" ]; then
  # Where the user mounts the board's headers, if the runtime does not.
  more=()
  [ ! -d /opt/jetpack/include ] || more=(--include /opt/jetpack/include)
  # Standard output belongs to the program.
  nice python3 "$folder/jetpack4/build.py" --into "$(cat "$jetpack4")" "${more[@]}" >&2 ||
    echo "TensorRT cannot be used for the reason above: models run on the CPU" >&2
fi
exec python3 -m app "$@"
