#!/bin/bash
# Builds build/face-recognition-l4t_VERSION_all.deb with nfpm, from the files that git knows. Run it with `make deb`,
# which installs nfpm into build/nfpm.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
export VERSION
rm -rf build/deb build/face-recognition-l4t_*_all.deb
mkdir -p build/deb
git ls-files -z -- app engines gallery/README.md install config.yaml pyproject.toml README.md LICENSE jetson_setup.sh |
  xargs -0 cp --parents --target-directory build/deb
# Nobody but root may change the program; git keeps only the right to execute.
chmod -R u=rwX,go=rX build/deb
build/nfpm/bin/nfpm package --packager deb --config install/nfpm.yaml --target build/
