#!/bin/sh
# Prints the Python to use. Usage: find_python.sh [VERSION|COMMAND]
#   nothing    the newest that runs and can create virtual environments (on a Jetson: the system's own,
#              because only that one can import JetPack's TensorRT and OpenCV)
#   3.8        that version only, also from pyenv's folder
#   /a/path    that command, checked
# A command that exists may still fail (such as pyenv's shims), so each candidate is run.
set -u

# An activated environment must not be used to create itself.
[ -z "${VIRTUAL_ENV:-}" ] || PATH=$(printf '%s' ":$PATH:" | sed "s|:$VIRTUAL_ENV/bin:|:|g; s|^:||; s|:$||")

oldest="3.8"
wanted="${1:-}"

runs() { "$1" -c 'import sys' >/dev/null 2>&1; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 8))' >/dev/null 2>&1; }
makes_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }
is_version() { "$1" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])' "$2" >/dev/null 2>&1; }

case "$wanted" in
"")
  if [ -e /etc/nv_tegra_release ]; then
    candidates="/usr/bin/python3 python3.8"
  else
    candidates="python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python3"
  fi
  ;;
[0-9]*.[0-9]*) candidates="python$wanted python3 ${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$wanted.*/bin/python" ;;
*) candidates="$wanted" ;;
esac

too_old="" without_venv=""
for candidate in $candidates; do
  runs "$candidate" || continue
  case "$wanted" in [0-9]*.[0-9]*) is_version "$candidate" "$wanted" || continue ;; esac
  if ! new_enough "$candidate"; then
    too_old="$candidate"
  elif ! makes_environments "$candidate"; then
    without_venv="${without_venv:-$candidate}"
  else
    command -v "$candidate"
    exit 0
  fi
done

if [ -n "$without_venv" ]; then
  version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "Python $version is installed, but cannot create virtual environments: its venv module is missing." >&2
  echo "On Debian, Ubuntu and Jetson:  sudo apt install python3-venv   (or python$version-venv)" >&2
elif [ -n "$too_old" ]; then
  echo "$too_old is $("$too_old" --version 2>&1): too old. Python $oldest or newer is required." >&2
  echo "Choose another one with  make PYTHON=/path/to/python3 ..." >&2
else
  echo "No working Python ${wanted:-$oldest or newer} was found (tried: $candidates)." >&2
  echo "Choose one with  make PYTHON=/path/to/python3 ..." >&2
fi
exit 1
