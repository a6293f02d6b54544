#!/usr/bin/env bash
# `clinic flame -- node dist` under autocannon: the whole daemon in one process, 100 events a request at 32 connections.
# Leaves its flame graph in profiles/. clinic is installed into .cache/: it brings hundreds of packages.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds="${1:-15}"
clinic_version=13.0.0
cache="$PWD/.cache/clinic-$clinic_version"
if [ ! -x "$cache/node_modules/.bin/clinic" ]; then
  mkdir -p "$cache"
  echo '{"private":true}' > "$cache/package.json"
  npm install --prefix "$cache" --no-audit --no-fund "clinic@$clinic_version"
fi

folder="$(mktemp -d)"
root="$PWD"
cd "$folder"
# In a group of its own: Ctrl-C on a terminal reaches the whole group too. (--on-port of clinic 13 breaks on a server
# that opens more than one port.)
NO_INSIGHT=1 setsid "$cache/node_modules/.bin/clinic" flame --open=false -- node "$root/dist" > said.txt 2>&1 &
clinic=$!
trap 'kill -KILL -- "-$clinic" 2> /dev/null || true; rm -rf "$folder"' EXIT
until grep -q '"msg":"ready"' said.txt; do
  kill -0 "$clinic" || { cat said.txt; exit 1; }
  sleep 0.2
done
node "$root/build/bench/autocannon.js" http://127.0.0.1:7070 "$seconds"
kill -INT -- "-$clinic"
wait "$clinic" || { cat said.txt; exit 1; }
# Without the folder that this tree lies in.
sed "s|$root|millrace|g" .clinic/*.clinic-flame.html > "$root/profiles/flame.html"
