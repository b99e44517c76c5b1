#!/bin/bash
# Of the Debian package: a user that owns what the service writes, and nothing else.
set -euo pipefail
[ "$1" = configure ] || exit 0

if ! getent passwd face > /dev/null; then
  useradd --system --user-group --no-create-home --home-dir /var/lib/face-recognition --shell /usr/sbin/nologin face
fi
if getent group video > /dev/null; then
  usermod --append --groups video face
fi
cd /opt/face-recognition-l4t
mkdir -p queue
chown -R face:face gallery engines queue
chmod 750 gallery queue
chgrp face /etc/face-recognition/config.yaml
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
echo "Install or update the Python packages with: sudo face-recognition-setup"
