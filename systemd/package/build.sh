#!/bin/sh
# build.sh [ARCH...]: builds dist/belabox-metrics_VERSION_ARCH.deb for amd64,
# arm64 and armhf, or for those that are named. DEB_VERSION and RELEASE set the
# version; without, version.sh makes one.
#
# cgo is needed for SQLite: the compilers are Debian's gcc and its cross
# compilers. The binaries run on any system with the C library of the one that
# they were built on, or one a little older: the dependency says which.
set -eu
cd "$(dirname "$0")/../.."
nfpm_version=v2.45.2 # from v2.46.0 on it needs modules that the proxy does not serve
nfpm=bin/nfpm-$nfpm_version
md2man=bin/go-md2man-v2.0.7 # turns a page into a manual
GO=${GO:-go}

version=${DEB_VERSION:-$(sh systemd/package/version.sh)}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

[ $# -gt 0 ] || set -- amd64 arm64 armhf
packages='gcc libc6-dev make binutils gzip'
for arch; do
	case $arch in
	amd64) ;;
	arm64) packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
	armhf) packages="$packages gcc-arm-linux-gnueabihf libc6-dev-armhf-cross" ;;
	*) echo "build.sh: want amd64, arm64 or armhf, got $arch" >&2 && exit 2 ;;
	esac
done
# shellcheck disable=SC2086
sh tests/need.sh $packages

if [ ! -x "$nfpm" ]; then
	GOBIN=$PWD/bin/.tool $GO install "github.com/goreleaser/nfpm/v2/cmd/nfpm@$nfpm_version"
	mv bin/.tool/nfpm "$nfpm"
fi
if [ ! -x "$md2man" ]; then
	GOBIN=$PWD/bin/.tool $GO install "github.com/cpuguy83/go-md2man/v2@v${md2man##*-v}"
	mv bin/.tool/go-md2man "$md2man"
fi

# newest_glibc FILE...: the newest version of the C library's symbols that they use.
newest_glibc() {
	objdump -T "$@" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -n 1
}

for arch; do
	stage=dist/stage/$arch
	rm -rf "$stage"
	mkdir -p "$stage/bin" "$stage/man1" "$stage/man5" "$stage/man8" "$stage/doc"
	target=$(sh systemd/package/target.sh "$arch")
	# shellcheck disable=SC2086
	env $target make --no-print-directory build GO="$GO" VERSION="$version" BIN="$PWD/$stage/bin" >&2
	sh tests/built.sh "$stage/bin"/*

	# Who wrote what is linked in, and on what terms, is in the package.
	$GO version -m "$stage"/bin/* | awk '$1 == "dep" {print $2}' | sort -u | while read -r module; do
		grep -qF "$module" systemd/package/copyright || { echo "build.sh: $module is linked in, and systemd/package/copyright does not name it" >&2; exit 1; }
	done

	for page in systemd/package/man/*.[18]; do
		sed "s/@VERSION@/$version/" "$page" | gzip -9n >"$stage/man${page##*.}/${page##*/}.gz"
	done
	{
		printf '%% BELABOX-METRICS-CONFIG 5 "" "belabox-metrics %s" "Board telemetry"\n# NAME\nbelabox-metrics-config - the configuration of metrics-collector, metrics-shipper and metrics-health\n\n# DESCRIPTION\n' "$version"
		sed -e '1,/^<!-- written/d' -e 's|\[The example\](\.\./configs/config\.yaml)|The installed file|' -e 's|\[\([^]]*\)\]([^)]*)|\1|g' docs/configuration.md
	} | "$md2man" | gzip -9n >"$stage/man5/belabox-metrics-config.5.gz"
	# The pages, for reading on the board: what they show beside themselves is on the web.
	for page in docs/*.md; do
		sed 's|(\.\./\([a-z]\)|(https://github.com/taniwha3/thugshells/blob/main/\1|g' "$page" >"$stage/doc/${page##*/}"
	done
	{
		printf 'belabox-metrics (%s-%s) unstable; urgency=medium\n\n' "$version" "${RELEASE:-1}"
		printf '  * Built from commit %s.\n\n' "$(git rev-parse HEAD)"
		printf ' -- Thugshells <metrics@thugshells.invalid>  %s\n' "$(date -uRd "@$SOURCE_DATE_EPOCH")"
	} | gzip -9n >"$stage/changelog.Debian.gz"

	libc=$(newest_glibc "$stage"/bin/metrics-collector "$stage"/bin/metrics-shipper "$stage"/bin/metrics-health)
	rm -f dist/belabox-metrics_*_"$arch".deb # an older one, which the commands in the pages would match as well
	package=dist/belabox-metrics_$version-${RELEASE:-1}_$arch.deb
	ARCH=$arch VERSION=$version RELEASE=${RELEASE:-1} LIBC=$libc STAGE=$stage \
		"$nfpm" package --config systemd/package/nfpm.yaml --packager deb --target "$package" >&2
	echo "$package"
done
