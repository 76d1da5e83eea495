#!/usr/bin/env bash
# Installs the flux command line: downloads a release, checks its checksum, and puts it in place.
#
#   curl -sL https://github.com/gitops-toolkit/flux/releases/latest/download/install.sh | sudo bash
#
# FLUX_VERSION   version to install, such as 0.2.0; the latest when unset
# FLUX_ARCH      architecture: amd64, arm64 or arm; that of the machine when unset
# FLUX_RELEASES_URL, FLUX_RELEASES_API_URL   where to look instead of GitHub
# $1             directory of the program, /usr/local/bin when not given
set -euo pipefail

releases="${FLUX_RELEASES_URL:-https://github.com/gitops-toolkit/flux/releases}"
api="${FLUX_RELEASES_API_URL:-https://api.github.com/repos/gitops-toolkit/flux}"
bin_dir="${1:-/usr/local/bin}"

info() { echo "[INFO]  $*"; }
fatal() { echo "[ERROR] $*" >&2; exit 1; }

fetch() { # URL FILE
  local auth=()
  if [ -n "${GITHUB_TOKEN:-}" ] && [[ "$1" == https://api.github.com/* ]]; then auth=(-H "Authorization: Bearer $GITHUB_TOKEN"); fi
  curl -fsSL ${auth[@]+"${auth[@]}"} -o "$2" "$1" || fatal "cannot download $1"
}

platform() {
  program=flux
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    MINGW* | MSYS* | CYGWIN*) os=windows program=flux.exe ;;
    *) fatal "no release for $(uname -s): see $releases" ;;
  esac
  local machine="${FLUX_ARCH:-$(uname -m)}"
  case "$machine" in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    arm | armv7* | armv8l) arch=arm ;;
    *) fatal "no release for $machine: see $releases" ;;
  esac
}

sum() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1; }

main() {
  command -v curl >/dev/null || fatal "curl is needed"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  platform
  local version="${FLUX_VERSION:-}"
  if [ -z "$version" ]; then
    fetch "$api/releases/latest" "$work/latest"
    version=$(sed -n 's/.*"tag_name": *"v\{0,1\}\([^"]*\)".*/\1/p' "$work/latest" | head -n 1)
    [ -n "$version" ] || fatal "cannot tell the latest version: set FLUX_VERSION"
  fi
  version="${version#v}"
  local archive="flux_${version}_${os}_${arch}.tar.gz"
  if [ "$os" = windows ]; then archive="${archive%.tar.gz}.zip"; fi
  info "downloading flux $version for $os/$arch"
  fetch "$releases/download/v$version/$archive" "$work/$archive"
  fetch "$releases/download/v$version/flux_${version}_checksums.txt" "$work/sums"
  local want
  want=$(sed -n "s/^\([0-9a-f]\{64\}\)  $archive\$/\1/p" "$work/sums")
  [ -n "$want" ] || fatal "the checksums do not name $archive"
  [ "$(sum "$work/$archive")" = "$want" ] || fatal "$archive has another checksum than the release says; nothing was installed"
  if [ "$os" = windows ]; then
    unzip -q "$work/$archive" "$program" -d "$work" || fatal "unzip is needed"
  else
    tar -xzf "$work/$archive" -C "$work" "$program"
  fi
  mkdir -p "$bin_dir"
  install -m 0755 "$work/$program" "$bin_dir/$program" || fatal "cannot write to $bin_dir: use sudo, or give a directory of your own"
  info "installed $bin_dir/$program"
}

main
