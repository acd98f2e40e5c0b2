#!/bin/sh
# Fetches ONNX Runtime's shared library into .deps/, checks it, and prints where it is.
#
#	scripts/onnxruntime.sh           for this machine
#	scripts/onnxruntime.sh arm64     for another one: amd64 or arm64
#
# For this machine an installed library serves too: the one that SIGHTLINE_ONNXRUNTIME
# names, or one that the dynamic linker knows, when it is 1.24.1 or later.
#
# Otherwise it comes from the npm package onnxruntime-node (packed, never installed:
# no script of it runs) where npm is there, else from Microsoft's release archive, else
# npm is installed for it. Each is compared with the sha256 below before it is kept.
# For another version set ONNXRUNTIME_VERSION and ONNXRUNTIME_SHA256, the sum of that
# version's release archive.

set -eu
cd "$(dirname "$0")/.."
root=$PWD

pinned=1.30.0
minimum=1.24.1
npm_sum_amd64=ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23
npm_sum_arm64=1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76
archive_sum_amd64=a5ed5a3cac51fbb2e90da632ae43d19212faaa20e76484e62bcb7c23ddb3b3fd
archive_sum_arm64=e16a27a8ed330bbc698df7330b0cf56e722f354e3bcc92118682c74ef3c3e3da
releases=https://github.com/microsoft/onnxruntime/releases/download

say() { echo "onnxruntime: $*" >&2; }
die() { echo "onnxruntime: $*" >&2; exit 1; }

machine=$(uname -m)
case "$machine" in
x86_64) machine=amd64 ;;
aarch64) machine=arm64 ;;
esac
arch=${1:-$machine}
case "$arch" in
amd64) npm_arch=x64 archive_arch=x64 npm_sum=$npm_sum_amd64 archive_sum=$archive_sum_amd64 ;;
arm64) npm_arch=arm64 archive_arch=aarch64 npm_sum=$npm_sum_arm64 archive_sum=$archive_sum_arm64 ;;
*) die "no ONNX Runtime is published for $arch: build it, and name it in SIGHTLINE_ONNXRUNTIME" ;;
esac

version=${ONNXRUNTIME_VERSION:-$pinned}
from_npm=yes
if [ "$version" != "$pinned" ]; then
	[ -n "${ONNXRUNTIME_SHA256:-}" ] ||
		die "no checksum of ONNX Runtime $version is known here: set ONNXRUNTIME_SHA256 to that of onnxruntime-linux-$archive_arch-$version.tgz"
	archive_sum=$ONNXRUNTIME_SHA256
	from_npm=
fi

home=$root/.deps/onnxruntime
folder=$home/$version/linux-$arch
library=$folder/libonnxruntime.so.1

# version_of prints the version that a library carries in its symbols.
version_of() { grep -aoE -m1 'VERS_1\.[0-9]+\.[0-9]+' "$1" 2>/dev/null | head -n 1 | cut -c 6-; }

# at_least tells whether version $1 is $2 or later.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

sum_of() { sha256sum "$1" | cut -d ' ' -f 1; }

# installed prints a library of this machine that serves.
installed() {
	[ "$arch" = "$machine" ] || return 1
	named=${SIGHTLINE_ONNXRUNTIME:-}
	case "$named" in
	"$home"/*) named= ;; # set by scripts/env: it is looked at below
	esac
	if [ -n "$named" ]; then
		[ -e "$named" ] ||
			die "SIGHTLINE_ONNXRUNTIME names $named, which is not there"
		echo "$named"
		return 0
	fi
	[ -z "${ONNXRUNTIME_VERSION:-}" ] || return 1
	found=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null |
		awk '$1 ~ /^libonnxruntime\.so/ { print $NF; exit }')
	[ -n "$found" ] || return 1
	has=$(version_of "$found")
	if [ -n "$has" ] && at_least "$has" "$minimum"; then
		echo "$found"
		return 0
	fi
	say "$found is version ${has:-unknown}, older than $minimum: not used"
	return 1
}

# keep puts the library $1, which was checked, in its place, with its sum beside it.
keep() {
	mkdir -p "$folder"
	mv "$1" "$library"
	ln -sf libonnxruntime.so.1 "$folder/libonnxruntime.so"
	(cd "$folder" && sha256sum libonnxruntime.so.1 >SHA256SUMS)
}

# link_current points .deps/onnxruntime/current/linux-ARCH at the version in use.
link_current() {
	mkdir -p "$home/current"
	ln -sfn "../$version/linux-$arch" "$home/current/linux-$arch"
}

npm_package() {
	say "fetching the npm package onnxruntime-node $version (about 110 MB)"
	(cd "$work" && npm pack --silent "onnxruntime-node@$version" >/dev/null) || return 1
	tar -xzf "$work/onnxruntime-node-$version.tgz" -C "$work" \
		--wildcards "package/bin/napi-v*/linux/$npm_arch/libonnxruntime.so.1" || return 1
	got=$(find "$work/package" -name libonnxruntime.so.1)
	[ "$(sum_of "$got")" = "$npm_sum" ] ||
		die "the library in onnxruntime-node $version has the sha256 $(sum_of "$got"), expected $npm_sum: not kept"
	keep "$got"
}

release_archive() {
	name=onnxruntime-linux-$archive_arch-$version
	say "fetching the release archive $name.tgz"
	if command -v curl >/dev/null 2>&1; then
		curl -fsSL --connect-timeout 20 --retry 2 -o "$work/$name.tgz" "$releases/v$version/$name.tgz" || return 1
	else
		wget -q -T 20 -t 2 -O "$work/$name.tgz" "$releases/v$version/$name.tgz" || return 1
	fi
	[ "$(sum_of "$work/$name.tgz")" = "$archive_sum" ] ||
		die "$name.tgz has the sha256 $(sum_of "$work/$name.tgz"), expected $archive_sum: not kept"
	tar -xzf "$work/$name.tgz" -C "$work"
	keep "$(find "$work/$name/lib" -name 'libonnxruntime.so.1.*' -type f)"
}

has() { command -v "$1" >/dev/null 2>&1; }

# add installs packages by apt where that can be.
add() {
	has apt-get || return 1
	say "installing $* (apt-get)"
	sudo=
	if [ "$(id -u)" != 0 ]; then
		has sudo || return 1
		sudo=sudo
	fi
	{ $sudo apt-get -q update && $sudo env DEBIAN_FRONTEND=noninteractive \
		apt-get -q install -y --no-install-recommends "$@"; } >/dev/null 2>&1
}

if installed; then
	exit 0
fi
if [ -f "$library" ] && (cd "$folder" && sha256sum -c --status SHA256SUMS 2>/dev/null); then
	link_current
	echo "$folder/libonnxruntime.so"
	exit 0
fi

mkdir -p "$home"
work=$(mktemp -d "$home/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fetch() {
	if [ -n "$from_npm" ] && has npm; then
		npm_package && return 0
		say "npm did not deliver it; trying the release archive"
	fi
	has curl || has wget || add curl ca-certificates || true
	if has curl || has wget; then
		release_archive && return 0
		say "the release archive did not arrive"
	fi
	if [ -n "$from_npm" ] && ! has npm && add npm; then
		npm_package && return 0
	fi
	return 1
}

fetch || die "ONNX Runtime $version could not be fetched: see the network, or put a libonnxruntime.so of $minimum or later on this machine and name it in SIGHTLINE_ONNXRUNTIME"
link_current
echo "$folder/libonnxruntime.so"
