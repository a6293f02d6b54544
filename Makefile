# The two commands that matter: `make demo` and `make test`. Both install what they need.

.PHONY: demo test bench check monitor install build clean

install: node_modules/.installed

node_modules/.installed: package.json package-lock.json
	npm ci --no-fund --no-audit
	@touch $@

build: install
	npm run -s build

demo: build
	npm run -s demo

test: build
	npm run -s test

bench: build
	npm run -s bench -- $(ARGS)

check: install
	npm run -s check

# Prometheus and Grafana on a daemon that runs here: docs/monitoring.md.
monitor:
	@scripts/monitor.sh

clean:
	rm -rf dist build generated
