#!/bin/sh
# Makes a key of each algorithm with GnuPG 2.2, and a message for it: what the command sops would make.
set -eu
cd "$(dirname "$0")"
export GNUPGHOME=$(mktemp -d)
trap 'gpgconf --kill gpg-agent; rm -rf "$GNUPGHOME"' EXIT
make() { # NAME, parameters of the key
	printf '%%no-protection\n%b\nName-Real: %s\nExpire-Date: 0\n%%commit\n' "$2" "$1" | gpg --batch --quiet --gen-key
	gpg --batch --quiet --armor --export-secret-keys "$1" >"$1.asc"
	printf 0123456789abcdef0123456789abcdef | gpg --batch --quiet --trust-model always --armor -r "$1" --encrypt >"$1.msg"
}
make rsa2048 'Key-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048'
make rsa4096 'Key-Type: RSA\nKey-Length: 4096\nSubkey-Type: RSA\nSubkey-Length: 4096'
make elgamal 'Key-Type: DSA\nKey-Length: 1024\nSubkey-Type: ELG-E\nSubkey-Length: 2048'
make cv25519 'Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519'
for curve in nistp256 nistp384 nistp521 brainpoolP256r1 brainpoolP384r1 brainpoolP512r1 secp256k1; do
	make $curve "Key-Type: ECDSA\nKey-Curve: $curve\nSubkey-Type: ECDH\nSubkey-Curve: $curve"
done
