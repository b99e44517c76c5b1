#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that some tests need. CI runs this. Without them, those tests are skipped and
# say what is missing.
set -euo pipefail

packages=(
  chromium          # the browser that opens the page
  fonts-dejavu-core # labels in Latin, Greek and Cyrillic letters
  fonts-wqy-zenhei  # labels in Chinese letters
  gir1.2-gst-rtsp-server-1.0 # the RTSP camera that tests read from, with the next seven
  gstreamer1.0-libav
  gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-base
  gstreamer1.0-plugins-good
  gstreamer1.0-plugins-ugly
  gstreamer1.0-tools
  python3-gst-1.0
  libfaketime    # steps of the clock
  libgl1         # what opencv-python needs to load
  mosquitto      # the MQTT broker that tests publish to
  python3-opencv # an OpenCV with GStreamer
  nats-server    # the server of JetStream that tests send events to
  postgresql     # the database that devices share
  shellcheck
  xdotool # presses keys in the window
  xvfb    # a screen for the window
)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "==> no apt: system packages are not changed"
  exit 0
fi
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "==> system packages for the tests: already installed"
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "==> not root, so these packages are not installed, and tests that need them are skipped: ${missing[*]}"
  exit 0
fi

attempt() {
  local tries=0
  until "$@"; do
    tries=$((tries + 1))
    if [ $tries -ge 3 ]; then return 1; fi
    echo "==> trying again in $((tries * 10)) s: $*"
    sleep $((tries * 10))
  done
}

echo "==> installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
attempt apt-get -qq update
attempt apt-get -qq install --yes --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
