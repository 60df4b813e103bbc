# Everything a newcomer and the gate need; `make help` lists it.
SHELL := /bin/sh
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/taniwha3/thugshells/shared/daemon.Version=$(VERSION) -X main.version=$(VERSION)
# What the daemons need not carry: HTTP/2, the C resolver and SQLite extensions
# come to 2 MB of resident memory.
TAGS := nethttpomithttp2,netgo,osusergo,sqlite_omit_load_extension
# fdatasync leaves the times of the files to the next journal commit: a sixth
# less is written for each sample that is made durable.
export CGO_CFLAGS ?= -O2 -g -DHAVE_FDATASYNC=1
LINT_VERSION := v2.15.0
LINT := $(CURDIR)/bin/golangci-lint-$(LINT_VERSION)
# The parts that need neither cgo nor Linux.
PORTABLE := ./shared/metric/... ./shared/vmjson/... ./shared/hostfs/... ./shared/config/... ./shared/daemon/... ./shared/collect/... ./shared/receiver/... ./cmd/metrics-receiver/...

.PHONY: help build run check test bench bench-check fuzz golden clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: ## the four programs, into bin/
	CGO_ENABLED=1 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ ./cmd/metrics-collector ./cmd/metrics-shipper ./cmd/metrics-health
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/metrics-receiver

run: build ## all three daemons in the foreground, until Ctrl-C
	@sh tests/run.sh

check: $(LINT) ## formatting, vet, lint, tidy modules, other systems
	$(GO) vet ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) vet $(PORTABLE)
	$(GO) mod tidy -diff
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/bin/.tool $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/.tool/golangci-lint $@

test: ## every test, with the race detector, in random order
	@sh tests/need.sh victoria-metrics
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 15m ./...

bench: bin/store.test ## what a day of samples costs: bytes, syncs, CPU, memory, the wire
	cd shared/store && ../../bin/store.test -test.timeout 30m -test.run '$(MEASURED)' -measure print
	CGO_ENABLED=1 $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./shared/ship
	$(GO) test -run '^$$' -bench . ./shared/vmjson

bench-check: bin/store.test ## fail when a day costs more than is budgeted
	cd shared/store && ../../bin/store.test -test.timeout 30m -test.run '$(MEASURED)' -measure check

MEASURED := WhatADayCosts|SyncsOfATick|NewestOfManyPending|WhileAMillion
.PHONY: bin/store.test
bin/store.test:
	CGO_ENABLED=1 $(GO) test -c -o $@ ./shared/store

fuzz: ## each fuzz target for 30 seconds
	@sh tests/fuzz.sh 30s

golden: ## rewrite the golden files and the generated parts of the documentation
	$(GO) test ./shared/collect/ ./tests/ -update

clean: ## remove what was built and run
	rm -rf bin run dist
