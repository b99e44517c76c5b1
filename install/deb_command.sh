#!/bin/bash
# /usr/bin/face-recognition: the program of the Debian package.
set -euo pipefail
python=/opt/face-recognition-l4t/.venv/bin/python
if [ ! -x "$python" ]; then
  echo "error: the Python packages are missing; install them with: sudo face-recognition-setup" >&2
  exit 2
fi
exec "$python" -m app "$@"
