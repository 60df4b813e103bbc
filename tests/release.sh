#!/bin/sh
# release.sh ARCH...: a release is made twice, from clones in two folders of other
# names, and must come out the same to the byte.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- amd64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
repository=$PWD
for folder in "$work/one" "$work/two/deeper down"; do
	mkdir -p "${folder%/*}"
	git clone -q --no-hardlinks "$repository" "$folder"
	[ ! -d bin ] || mkdir -p "$folder/bin"
	for tool in bin/nfpm-* bin/go-md2man-* bin/cyclonedx-gomod-*; do
		[ ! -x "$tool" ] || cp "$tool" "$folder/bin/"
	done
	(cd "$folder" && make --no-print-directory release VERSION=0.0.1 ARCHES="$*" >"$work/log" 2>&1) || { cat "$work/log" >&2; exit 1; }
	(cd "$folder/dist/release-0.0.1" && sha256sum --quiet -c SHA256SUMS)
	cp "$folder/dist/release-0.0.1/SHA256SUMS" "$work/sums-${folder##*/}"
done
if ! diff "$work/sums-one" "$work/sums-deeper down"; then
	echo "FAILED  two builds of one commit differ" >&2
	exit 1
fi
cat "$work/sums-one"
echo "ok      two builds of one commit from two folders are the same"
