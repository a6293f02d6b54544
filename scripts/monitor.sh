#!/usr/bin/env bash
# `make monitor`: starts Prometheus and Grafana in containers, on the daemons of docker-compose.yml where those run and on
# the daemon of this machine otherwise, and opens the page. Where there is no docker it says how to do the same without.
set -euo pipefail
cd "$(dirname "$0")/.."

page=http://127.0.0.1:3000/d/millrace-overview

without_docker() {
  local prometheus=prometheus
  command -v prometheus > /dev/null || [ ! -x .cache/prometheus/usr/bin/prometheus ] ||
    prometheus=.cache/prometheus/usr/bin/prometheus
  cat <<TEXT
$1. Without it, from $PWD:

1. Prometheus 2.42 or later (Debian, Ubuntu: apt-get install prometheus), with our rules, on the daemon of this machine:

   $prometheus --config.file=grafana/prometheus/prometheus.yml \\
     --web.listen-address=127.0.0.1:9090 --storage.tsdb.path=.cache/prometheus-data

   http://127.0.0.1:9090/targets says whether it finds the daemon, http://127.0.0.1:9090/alerts what is wrong with it.

2. Grafana 11 or later (https://grafana.com/grafana/download), from its own folder:

   MILLRACE_DASHBOARDS=$PWD/grafana/dashboards GF_PATHS_PROVISIONING=$PWD/grafana/provisioning \\
     GF_SERVER_HTTP_ADDR=127.0.0.1 bin/grafana server

   then $page (admin, admin).
   In a Grafana that you have already: Dashboards, New, Import, and upload grafana/dashboards/overview.json and
   grafana/dashboards/inside.json. At the top of each one chooses the Prometheus.
TEXT
  exit 0
}

command -v docker > /dev/null || without_docker 'There is no docker here'
docker compose version > /dev/null 2>&1 || without_docker 'docker has no compose here'
docker info > /dev/null 2>&1 || without_docker 'docker is here, and its engine does not answer'

if [ -n "$(docker compose ps --quiet --status running ingest)" ]; then
  wanted=prometheus other=prometheus-host
  scraped='the daemons of docker-compose.yml'
else
  wanted=prometheus-host other=prometheus
  scraped='the daemon of this machine, admin port 127.0.0.1:7072'
fi
docker compose rm --stop --force "$other" # both are on the same port
docker compose up --detach --wait --no-deps "$wanted" grafana
echo "Prometheus, on $scraped: http://127.0.0.1:9090"
echo "Grafana: $page"
echo "docker compose stop $wanted grafana    # ends them"

if [ "$(uname)" = Darwin ]; then
  open "$page"
elif [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && command -v xdg-open > /dev/null; then
  xdg-open "$page"
fi
