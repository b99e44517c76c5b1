#!/usr/bin/env bash
# Installs the Debian packages that `make test-aarch64` needs.
set -euo pipefail

packages=(
  debootstrap             # lists and downloads the packages of an arm64 system
  g++-aarch64-linux-gnu   # compiles the TensorRT module for it
  qemu-user-static        # runs its programs
)

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "no apt: install debootstrap, g++ for aarch64-linux-gnu and a static qemu-aarch64 yourself" >&2
  exit 1
fi
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "==> system packages for aarch64: already installed"
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "not root; run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "==> installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
