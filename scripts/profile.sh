#!/usr/bin/env bash
# scripts/profile.sh [SECONDS] [FOLDER]: profiles of the daemon under autocannon, 100 events a request at 32 connections,
# into profiles/, each over so many seconds (10). Needs no terminal. Leaves
#   cpu.svg     where the time of all processes and pool threads goes    } `millrace profile`
#   mem.svg     what they allocate                                      }
#   trace.json  what they do one after the other, for one second: Perfetto, chrome://tracing, speedscope
#   flame.html  `clinic flame -- node dist`: all roles in one process, as V8's own profiler sees it
# clinic is installed into .cache/: it brings hundreds of packages.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
seconds="${1:-10}"
mkdir -p "${2:-profiles}"
profiles="$(cd "${2:-profiles}" && pwd)"

[ -d node_modules ] || npm ci --no-fund --no-audit
npm run -s build
npm run -s build:test

clinic_version=13.0.0
cache="$root/.cache/clinic-$clinic_version"
if [ ! -x "$cache/node_modules/.bin/clinic" ]; then
  mkdir -p "$cache"
  echo '{"private":true}' > "$cache/package.json"
  npm install --prefix "$cache" --no-audit --no-fund "clinic@$clinic_version"
fi

folder="$(mktemp -d)"
daemon=
load=
finish() {
  [ -z "$load" ] || kill -KILL "$load" 2> /dev/null || true
  [ -z "$daemon" ] || kill -KILL -- "-$daemon" 2> /dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
export MILLRACE_HTTP__LISTEN=127.0.0.1:0 MILLRACE_GRPC__LISTEN=127.0.0.1:0 MILLRACE_ADMIN__LISTEN=127.0.0.1:0
export MILLRACE_LOG__RETENTION__MAXBYTES=512MiB

# Starts it in a group of its own, which a signal reaches as Ctrl-C on a terminal does, and puts it under load.
start() {
  rm -rf "$folder/data" "$folder/said.txt" # or the former one would be taken for ready
  (cd "$folder" && NO_INSIGHT=1 exec setsid "$@" > said.txt 2>&1) &
  daemon=$!
  until grep -q '"msg":"ready"' "$folder/said.txt" 2> /dev/null; do
    kill -0 "$daemon" || { cat "$folder/said.txt"; exit 1; }
    sleep 0.2
  done
  address() { grep '"msg":"ready"' "$folder/said.txt" | sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
  admin="$(address admin)"
  node build/bench/autocannon.js "$(address http)" 3600 > "$folder/load.txt" 2>&1 &
  load=$!
  sleep 2 # until what runs is compiled
}

stop() {
  kill "$load"
  wait "$load" || true
  load=
  kill -INT -- "-$daemon"
  wait "$daemon" || { cat "$folder/said.txt"; exit 1; }
  daemon=
}

profile() {
  node dist profile --admin "$admin" "$@"
}

start node "$root/dist"
profile --seconds "$seconds" --svg "$profiles/cpu.svg"
profile --seconds "$seconds" --allocs --svg "$profiles/mem.svg"
profile --trace "$profiles/trace.json"
stop

start "$cache/node_modules/.bin/clinic" flame --open=false -- node "$root/dist"
sleep "$seconds"
stop
# Without the folder that this tree lies in.
sed "s|$root|millrace|g" "$folder"/.clinic/*.clinic-flame.html > "$profiles/flame.html"
ls -l "$profiles"
