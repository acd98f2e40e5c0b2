# Sightline. `make help` lists what there is; CI (.ci/run) runs the same targets.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
FOR ?=
FUZZTIME ?= 20s
TESTFLAGS ?=
PACKAGES ?= ./...

# What go needs (flags of cgo, where ONNX Runtime is) stands in scripts/env alone.
ENV = . ./scripts/env
GO = $(ENV) && go
LDFLAGS = -s -w -X main.version=$(VERSION)
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
build: setup ## bin/sightline
	@echo "build: bin/sightline $(VERSION)"
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

.PHONY: demo
demo: build ## watch a simulated camera, classified live; FOR=20s ends it
	@$(ENV) && exec bin/sightline demo $(if $(FOR),--for $(FOR))

.PHONY: test
test: setup-test ## every test; what was skipped is listed with its reason
	@$(ENV) && ./scripts/test $(TESTFLAGS) $(PACKAGES)

.PHONY: race
race: setup-test ## every test under the race detector
	@$(ENV) && ./scripts/test -race $(TESTFLAGS) $(PACKAGES)

.PHONY: clean
clean: ## remove what was built (not .deps/)
	rm -rf bin
