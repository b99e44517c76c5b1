#!/bin/bash
# Of the Debian package. The gallery stays: its photos belong to the user.
set -euo pipefail
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now face-recognition.service || true
fi
if [ "$1" = remove ]; then
  rm -rf /opt/face-recognition-l4t/.venv
fi
find /opt/face-recognition-l4t/app -name __pycache__ -type d -prune -exec rm -rf {} +
