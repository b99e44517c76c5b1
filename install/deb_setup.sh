#!/bin/bash
# /usr/sbin/face-recognition-setup: installs the Python packages of the Debian package, or updates them, from PyPI.
set -euo pipefail
cd /opt/face-recognition-l4t
if [ "$(id -u)" -ne 0 ]; then
  echo "error: run it as root: sudo face-recognition-setup" >&2
  exit 2
fi
if [ -e /etc/nv_tegra_release ]; then
  exec ./jetson_setup.sh
fi
extras=${1:-cpu,video,fonts,photos,mqtt,metrics,serve,fleet}
exec /usr/bin/python3 install/environment.py .venv --extras "$extras"
