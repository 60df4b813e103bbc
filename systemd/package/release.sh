#!/bin/sh
# release.sh VERSION [ARCH...]: makes dist/release-VERSION: for each of amd64, arm64
# and armhf, or those that are named, the Debian package and a tarball of static
# programs; for each program a software bill of materials (CycloneDX), and SHA256SUMS.
#
# Two runs on one commit, in any two folders, give the same sums.
set -eu
cd "$(dirname "$0")/../.."
version=${1:-}
case $version in
'' | *[!0-9A-Za-z.+~]*) echo "usage: make release VERSION=1.2.3, got '$version'" >&2 && exit 2 ;;
esac
shift
[ $# -gt 0 ] || set -- amd64 arm64 armhf
GO=${GO:-go}
sbom=bin/cyclonedx-gomod-v1.10.0
if [ ! -x "$sbom" ]; then
	GOBIN=$PWD/bin/.tool $GO install "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v${sbom##*-v}"
	mv bin/.tool/cyclonedx-gomod "$sbom"
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
out=dist/release-$version
rm -rf "$out"
mkdir -p "$out"

packages=$(DEB_VERSION=$version GO=$GO sh systemd/package/build.sh "$@")
for package in $packages; do
	mv "$package" "$out/"
done

for arch; do
	target=$(sh systemd/package/target.sh "$arch")
	name=belabox-metrics-$version-linux-$arch
	stage=dist/stage/$name
	rm -rf "$stage"
	mkdir -p "$stage/bin"
	# shellcheck disable=SC2086
	env $target make --no-print-directory build GO="$GO" STATIC=1 VERSION="$version" BIN="$PWD/$stage/bin" >&2
	cp -r docs configs/config.yaml README.md systemd/package/copyright "$stage/"
	mkdir -p "$stage/systemd"
	cp systemd/*.service systemd/*.slice systemd/*.target systemd/*.timer "$stage/systemd/"
	tar -C dist/stage --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode='u+rwX,go+rX,go-w' -cf - "$name" |
		gzip -9n >"$out/$name.tar.gz"
done

# What is linked into each program, read from the program itself; the same for each
# kind of processor.
for program in "dist/stage/belabox-metrics-$version-linux-$1/bin"/*; do
	"$sbom" bin -json -noserial -notimestamp -version "$version" -output "$out/${program##*/}-$version.cdx.json" "$program" >&2
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "$out"
