#!/usr/bin/env bash
# Runs a command in the arm64 root: tests/aarch64/enter.sh ROOT COMMAND...
# In namespaces of its own, so that no root is needed, and neither mounts nor the registration of qemu outlast the
# command. The kernel must allow both (Linux 6.7), unless the machine runs arm64 programs already.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  exec unshare --user --map-root-user --mount --pid --fork --kill-child -- "$0" --inside "$@"
fi
shift
root=$1
shift

mkdir -p "$root"/{proc,dev,tmp}
mount -t proc proc "$root/proc"
# Not /sys: it describes the real processor, and ONNX Runtime crashes when that is none of Arm.
mount --rbind /dev "$root/dev"

if ! chroot "$root" /bin/true 2>/dev/null; then
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
  # The interpreter is opened now (F), so it need not be in the root.
  magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":face-recognition-aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):FP" \
    >/proc/sys/fs/binfmt_misc/register
fi

# Not exec: a program that is process 1 hangs instead of crashing.
# Nothing of this machine's environment: its OPENBLAS_CORETYPE, for instance, would name a processor of x86-64.
# The processor of a Jetson Nano. With everything that qemu can emulate, OpenBLAS takes its kernels for SVE, which give
# NaN now and then there.
chroot "$root" /usr/bin/env -i QEMU_CPU=cortex-a57 HOME=/root PATH=/opt/venv/bin:/usr/bin:/bin LANG=C.UTF-8 \
  PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1 \
  JETPACK4_BOARDS=/opt/jetpack4 /bin/sh -c 'cd /face-recognition && exec "$@"' sh "$@"
