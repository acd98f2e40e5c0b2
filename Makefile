# Sightline. `make help` lists what there is; CI (.ci/run) runs the same targets.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FOR ?=
BOX ?=
TOTAL ?=
SEED ?=
TESTFLAGS ?=
BENCHFLAGS ?=
SOAKFLAGS ?=
DOCKERFLAGS ?=
PACKAGES ?= ./...

# What go needs (flags of cgo, where ONNX Runtime is) stands in scripts/env alone.
ENV = . ./scripts/env
GO = $(ENV) && go
SOURCES = $(wildcard go.mod go.sum) $(shell find . -name '*.go' -not -path './.deps/*' 2>/dev/null)

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what building needs (apt; ONNX Runtime into .deps/)
	@./scripts/setup build

.PHONY: setup-test
setup-test: ## install what the tests need too
	@./scripts/setup test

.PHONY: build
build: setup ## bin/sightline, and the programs of stages in boxes beside it
	@echo "build: bin/sightline $(VERSION)"
	@./scripts/build bin '$(VERSION)'

.PHONY: demo
demo: build ## watch a simulated camera, classified live; FOR=20s ends it; BOX=container runs its stages there
	@$(ENV) && exec bin/sightline demo $(if $(FOR),--for $(FOR)) $(if $(BOX),--box $(BOX))

.PHONY: test
test: setup-test ## every test; what was skipped is listed with its reason
	@$(ENV) && ./scripts/test $(TESTFLAGS) $(PACKAGES)

.PHONY: race
race: setup-test ## every test under the race detector
	@$(ENV) && ./scripts/test -race $(TESTFLAGS) $(PACKAGES)

.PHONY: lint
lint: setup ## gofmt, go vet, golangci-lint
	@$(ENV) && ./scripts/lint $(PACKAGES)

.PHONY: fuzz
fuzz: setup-test ## every fuzz target, each for FOR (20s), or all together for TOTAL seconds
	@$(ENV) && ./scripts/fuzz $(if $(TOTAL),--total $(TOTAL),$(or $(FOR),20s)) $(PACKAGES)

.PHONY: bench
bench: build ## measure stages, whole pipelines and their limit
	@$(ENV) && exec bin/sightline bench $(BENCHFLAGS)

.PHONY: bench-spool
bench-spool: setup ## measure the queue in front of upstreams: results/s, bytes written, recovery of 256 MiB
	@$(ENV) && ./scripts/bench-spool

.PHONY: soak
soak: build ## have everything around a pipeline fail at random for FOR (10m); SEED=n repeats one; BOX=process
	@$(ENV) && exec bin/sightline bench soak $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)) $(if $(BOX),--box $(BOX)) $(SOAKFLAGS)

.PHONY: cross-arm64
cross-arm64: ## bin/arm64/: everything, built for arm64
	@./scripts/setup cross arm64
	@echo "cross-arm64: building for arm64 into bin/arm64/"
	@export SIGHTLINE_ARCH=arm64; $(GO) build -trimpath $(PACKAGES) && \
		./scripts/build bin/arm64 '$(VERSION)'

.PHONY: test-arm64
test-arm64: ## the tests that run well under emulation, built for arm64
	@./scripts/setup cross-test arm64
	@./scripts/test-arm64 $(TESTFLAGS)

.PHONY: docker
docker: ## the container image sightline:cpu (DOCKERFLAGS for docker build)
	docker build --target cpu --build-arg VERSION=$(VERSION) -t sightline:cpu $(DOCKERFLAGS) .

.PHONY: clean
clean: ## remove what was built (.deps/, which was fetched, stays)
	rm -rf bin
