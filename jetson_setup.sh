#!/usr/bin/env bash
# Prepares a Jetson: packages, swap, a virtual environment that uses JetPack's TensorRT and OpenCV, power mode, engines.
# Run it in the project's folder, as often as you like: steps that are already done are skipped.
# docs/jetson.md describes the versions of JetPack.
set -euo pipefail

readonly NOT_SUPPORTED=3
readonly SMALL_BOARD_KB=$((9 * 1000 * 1000)) # boards sold with up to 8 GB
readonly SWAP_GB=8
readonly CLOCKS_UNIT=/etc/systemd/system/face-recognition-clocks.service

# Tests set this to a folder with the files of a simulated board; it is empty on a real one.
readonly ROOT="${JETSON_ROOT:-}"

dry_run=false
assume_yes=false
skipped=" "
board=""

usage() {
  cat <<'TEXT'
usage: ./jetson_setup.sh [--dry-run] [--yes] [--skip STEP]... [--board FAMILY]

  --dry-run       print the steps and change nothing
  --yes           do not ask before starting
  --skip STEP     skip a step: packages, swap, python, power or engines
  --board FAMILY  the module on this board, if it is not detected (a carrier board of another manufacturer):
                  nano, tx2, xavier, orin-nano, orin or thor
  --help          show this text

Exit codes: 0 done, 1 a step failed, 2 wrong usage, 3 not a supported Jetson.
TEXT
}

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }

give_up() {
  local code=$1
  shift
  printf 'jetson_setup.sh: %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit "$code"
}

# Prints a command, and runs it except in a dry run.
run() {
  local word line=""
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,~+-]+$ ]] || word="'$word'"
    line="$line $word"
  done
  printf '    +%s\n' "$line"
  $dry_run || "$@"
}

# Appends lines to a file owned by root.
append_as_root() {
  local file=$1 line
  shift
  printf '    + add to %s:\n' "$file"
  for line in "$@"; do printf '        %s\n' "$line"; done
  $dry_run || printf '%s\n' "$@" | as_root tee -a "$file" >/dev/null
}

run_as_root() {
  if [ "$(id -u)" -eq 0 ]; then run "$@"; else run sudo "$@"; fi
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

wanted() {
  case "$skipped" in
  *" $1 "*)
    say "$2: skipped"
    return 1
    ;;
  esac
  say "$2"
}

read_arguments() {
  while [ $# -gt 0 ]; do
    case "$1" in
    --dry-run) dry_run=true ;;
    --yes | -y) assume_yes=true ;;
    --skip | --board)
      [ $# -ge 2 ] || give_up 2 "$1 needs a value; see --help"
      if [ "$1" = --skip ]; then
        case "$2" in packages | swap | python | power | engines) ;; *) give_up 2 "unknown step '$2'; see --help" ;; esac
        skipped="$skipped$2 "
      else
        case "$2" in nano | tx2 | xavier | orin-nano | orin | thor) ;; *) give_up 2 "unknown board family '$2'; see --help" ;; esac
        board="$2"
      fi
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) give_up 2 "unknown option '$1'; see --help" ;;
    esac
    shift
  done
}

# ---- which board, which JetPack

find_board() {
  local release_file="$ROOT/etc/nv_tegra_release" model_file="$ROOT/proc/device-tree/model"
  [ -r "$release_file" ] || give_up $NOT_SUPPORTED "this is not a Jetson: /etc/nv_tegra_release is missing." \
    "Other computers need no setup: run  make demo"
  release_line=$(head -n 1 "$release_file")
  [[ $release_line =~ R([0-9]+)\ \(release\),\ REVISION:\ ([0-9]+)(\.([0-9]+))? ]] ||
    give_up $NOT_SUPPORTED "unknown format of /etc/nv_tegra_release:" "$release_line"
  l4t_major=${BASH_REMATCH[1]}
  l4t_minor=${BASH_REMATCH[2]}
  l4t="$l4t_major.$l4t_minor.${BASH_REMATCH[4]:-0}"
  model="(no /proc/device-tree/model)"
  [ ! -r "$model_file" ] || model=$(tr -d '\0' <"$model_file")
  [ -n "$board" ] || board=$(family_of "$model")
  [ -n "$board" ] || give_up $NOT_SUPPORTED "unknown board: '$model' (L4T $l4t)." \
    "If you know its module, use --board; see --help"
}

family_of() {
  case "$1" in
  *Orin\ Nano*) echo orin-nano ;;
  *Orin*) echo orin ;;
  *Thor*) echo thor ;;
  *Xavier*) echo xavier ;;
  *TX2*) echo tx2 ;;
  *Jetson\ Nano*) echo nano ;;
  esac
}

find_jetpack() {
  case "$l4t_major.$l4t_minor" in
  32.6 | 32.7) generation=4 python=python3.8 ;;
  35.[2-6]) generation=5 python=/usr/bin/python3 ;;
  36.[3-5]) generation=6 python=/usr/bin/python3 ;;
  38.* | 39.*) generation=7 python=/usr/bin/python3 ;;
  *) give_up $NOT_SUPPORTED "L4T $l4t on '$model' is not supported." \
    "Supported: 32.6-32.7 (JetPack 4.6), 35.2-35.6 (5.1), 36.3-36.5 (6), 38 and 39 (7). See docs/jetson.md" ;;
  esac
  case "$generation:$board" in
  4:nano | 4:tx2 | 4:xavier | 5:xavier | 5:orin* | 6:orin* | 7:thor) ;;
  7:orin*) [ "$l4t_major" = 39 ] || give_up $NOT_SUPPORTED "L4T $l4t runs on Thor only, and this board is '$model'." ;;
  *) give_up $NOT_SUPPORTED "JetPack $generation does not exist for this board: '$model' with L4T $l4t." \
    "Check the value of --board." ;;
  esac
}

# ---- the steps

system_python_has() { [ -z "$ROOT" ] && /usr/bin/python3 -c "import $1" >/dev/null 2>&1; }
is_installed() { [ -z "$ROOT" ] && [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {
  wanted packages "System packages" || return 0
  local packages=(build-essential gstreamer1.0-tools gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav)
  if [ "$generation" = 4 ]; then
    packages+=(python3.8 python3.8-venv python3.8-dev libnvinfer-dev libnvonnxparsers-dev
      cuda-cudart-dev-10-2 cuda-nvcc-10-2)
    note "JetPack 4 has Python 3.6, which is too old; Python 3.8 is installed from Ubuntu's packages,"
    note "and TensorRT's headers from JetPack's, to compile its Python module."
  else
    packages+=(python3-venv python3-dev)
    # JetPack's own OpenCV and TensorRT are kept if they work.
    system_python_has cv2 || packages+=(python3-opencv)
    system_python_has tensorrt || packages+=(python3-libnvinfer)
    packages+=(libnvinfer-bin)
    [ "$l4t_major" != 39 ] || note "TensorRT of JetPack 7.2 is large: a download of about 2.3 GB, 3 GB on disk."
  fi
  local missing=() package
  for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
  if [ ${#missing[@]} -eq 0 ]; then
    note "already installed"
    return
  fi
  run_as_root apt-get update
  run_as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
}

add_swap() {
  wanted swap "Swap" || return 0
  local file=/mnt/${SWAP_GB}GB.swap memory_kb swap_kb
  memory_kb=$(awk '/^MemTotal:/ { print $2 }' "$ROOT/proc/meminfo" 2>/dev/null || true)
  swap_kb=$(awk 'NR > 1 && $1 !~ /zram/ { sum += $3 } END { print sum + 0 }' "$ROOT/proc/swaps" 2>/dev/null || echo 0)
  if [ "${memory_kb:-0}" -gt $SMALL_BOARD_KB ]; then
    note "not needed: this board has $((memory_kb / 1000000)) GB of memory"
    return
  fi
  if [ "${swap_kb:-0}" -ge $((SWAP_GB * 1000 * 1000)) ]; then
    note "already configured: $((swap_kb / 1000000)) GB"
    return
  fi
  note "Building an engine needs more memory than this board has: adding ${SWAP_GB} GB of swap in $file"
  if [ ! -e "$ROOT$file" ] && ! $dry_run; then
    local free_kb
    free_kb=$(df --output=avail -k /mnt | tail -n 1)
    if [ "$free_kb" -lt $(((SWAP_GB + 2) * 1024 * 1024)) ]; then
      note "skipped: only $((free_kb / 1024 / 1024)) GB of disk space are free. Free some space and run this again."
      return
    fi
  fi
  if $dry_run || systemctl is-enabled --quiet nvzramconfig 2>/dev/null; then
    run_as_root systemctl disable nvzramconfig
  fi
  [ -e "$ROOT$file" ] || run_as_root fallocate -l "${SWAP_GB}G" "$file"
  run_as_root chmod 600 "$file"
  if $dry_run || [ "$(as_root blkid -o value -s TYPE "$file")" != swap ]; then
    run_as_root mkswap "$file"
  fi
  grep -q "^$file " "$ROOT/proc/swaps" 2>/dev/null || run_as_root swapon "$file"
  grep -q "^$file " "$ROOT/etc/fstab" 2>/dev/null ||
    append_as_root /etc/fstab "$file none swap sw 0 0"
}

make_environment() {
  wanted python "Python environment .venv" || return 0
  if [ "$generation" = 4 ]; then
    note "JetPack 4's Python modules are for Python 3.6 only: OpenCV comes from pip, RTSP and CSI cameras are read by"
    note "GStreamer in a separate process, and TensorRT's module is compiled here, which takes some minutes."
    run "$python" install/environment.py .venv --extras cpu,video,fonts,metrics,serve,jetpack4 --opencv headless
    run nice .venv/bin/python install/jetpack4/build.py ||
      note "TensorRT cannot be used for the reason above: models run on the CPU. Run this script again when it is solved."
    return
  fi
  note "It uses the system's packages: TensorRT and OpenCV come from JetPack, not from pip."
  run "$python" install/environment.py .venv --extras cpu,video,fonts,metrics,serve --opencv system
  if $dry_run; then return; fi
  .venv/bin/python -c 'import tensorrt; print("    TensorRT", tensorrt.__version__)' ||
    give_up 1 "the environment cannot import TensorRT. Is JetPack complete?  sudo apt install nvidia-jetpack"
}

# The mode without limits is called MAXN or MAXN_SUPER; its number differs between boards.
set_power() {
  wanted power "Power mode and clocks" || return 0
  note "Full power needs an adequate power supply and fan; use --skip power otherwise."
  local modes chosen
  modes=$(sed -n 's/^< *POWER_MODEL ID=\([0-9]*\) NAME=\([^ >]*\).*/\1 \2/p' "$ROOT/etc/nvpmodel.conf" 2>/dev/null || true)
  chosen=$(printf '%s\n' "$modes" | awk '$2 == "MAXN_SUPER" { super = $1 } $2 == "MAXN" { maxn = $1 }
    END { print super != "" ? super : maxn }')
  if [ -z "$modes" ]; then
    note "/etc/nvpmodel.conf is missing or names no modes, so the mode is not changed"
  elif [ -z "$chosen" ]; then
    note "/etc/nvpmodel.conf has no MAXN mode, so the mode is not changed. Choose one: sudo nvpmodel -m NUMBER"
    printf '%s\n' "$modes" | sed 's/^/      /'
  elif ! $dry_run && as_root nvpmodel -q | grep -qx "$chosen"; then
    note "mode $chosen is already set"
  else
    run_as_root nvpmodel -m "$chosen"
    note "If it asks for a reboot, say yes and run this script again afterwards."
  fi
  run_as_root jetson_clocks
  if [ -e "$ROOT$CLOCKS_UNIT" ]; then
    note "the clocks are already set at every boot"
    return
  fi
  note "jetson_clocks does not survive a reboot; a service runs it again"
  append_as_root "$CLOCKS_UNIT" '[Unit]' 'Description=Highest clocks, for face recognition' 'After=nvpmodel.service' \
    '[Service]' 'Type=oneshot' 'ExecStart=/usr/bin/jetson_clocks' '[Install]' 'WantedBy=multi-user.target'
  run_as_root systemctl enable "$(basename "$CLOCKS_UNIT")"
}

# The program itself keeps valid engines.
build_engines() {
  wanted engines "TensorRT engines" || return 0
  note "They are built from the models on this board, once; it takes some minutes."
  case "$board" in nano | tx2) note "They compute in fp16: the GPU of this board has no fast int8." ;; esac
  run .venv/bin/python -m app engines build ||
    note "The build failed for the reason above. The program tries again when it starts, or runs on the CPU."
}

ask() {
  if $dry_run || $assume_yes; then return; fi
  [ -t 0 ] || give_up 2 "cannot ask without a terminal; add --yes to continue, or --dry-run to see the steps"
  local answer
  read -r -p $'\nSet up this board now? Steps that are already done are skipped. [y/N] ' answer
  case "$answer" in y | Y | yes) ;; *) give_up 1 "nothing was changed" ;; esac
}

main() {
  read_arguments "$@"
  cd "$(dirname "${BASH_SOURCE[0]}")"
  find_board
  find_jetpack
  say "Board: $model ($board), L4T $l4t = JetPack $generation"
  if $dry_run; then note "dry run: steps are printed, nothing is changed"; fi
  ask
  install_packages
  add_swap
  make_environment
  set_power
  build_engines
  say "Done. Next:"
  note "make demo                                     run the demo, without a camera"
  note ".venv/bin/python -m app --csi 0               the camera on the board"
  note ".venv/bin/python -m app --rtsp rtsp://...     a network camera"
  note "Without a desktop, more memory is free: sudo systemctl set-default multi-user.target"
}

main "$@"
