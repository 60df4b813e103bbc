#!/bin/sh
# target.sh ARCH: prints what `make build` needs in its environment to build for a
# Debian architecture with Debian's gcc or its cross compiler.
set -eu
case $1 in
amd64) goarch=amd64 cc=gcc ;;
arm64) goarch=arm64 cc=aarch64-linux-gnu-gcc ;;
armhf) goarch=arm cc=arm-linux-gnueabihf-gcc ;;
*) echo "target.sh: want amd64, arm64 or armhf, got $1" >&2 && exit 2 ;;
esac
[ "$goarch" != amd64 ] || [ "$(uname -m)" = x86_64 ] || cc=x86_64-linux-gnu-gcc
echo "GOOS=linux GOARCH=$goarch GOARM=7 CC=$cc"
