# Everything a newcomer and the gate need; `make help` lists it.
SHELL := /bin/sh
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# How every released program is built, here, for a package
# (systemd/package/build.sh) or for an image (docker/Dockerfile): BIN is the output
# directory, STATIC=1 links the C library in, GOARCH and CC choose the target.
BIN ?= bin
REVISION ?= $(shell git describe --always --abbrev=40 --exclude '*' --dirty 2>/dev/null)
STAMPED := github.com/taniwha3/thugshells/shared/version
LDFLAGS := -s -w -X $(STAMPED).Version=$(VERSION) -X $(STAMPED).Revision=$(REVISION)
ifdef STATIC
CLDFLAGS := -linkmode external -extldflags -static
endif
# Left out of the daemons: HTTP/2, the C resolver and SQLite extensions, which
# would cost 2 MB of resident memory.
TAGS := nethttpomithttp2,netgo,osusergo,sqlite_omit_load_extension
# For every command of Go: vet, lint and the tests see what is released, and SQLite
# is compiled once for all of them, and once more for the race detector.
export GOFLAGS := $(filter-out -trimpath -tags=%,$(shell $(GO) env GOFLAGS 2>/dev/null)) -trimpath -tags=$(TAGS)
# How SQLite is compiled. fdatasync leaves the times of the files to the next
# journal commit: a sixth less is written for each sample that is made durable.
# Without full-text search, R*Trees, the shared cache and memory statistics, and
# for size, the three daemons take 1.1 MiB less and are no slower. go-sqlite3
# turns some of these on after our flags; -Wp puts the -U after its own. Nothing
# unwinds the stack of C: 0.1 MB of tables less. With QPSG a statement on a partial
# index is not compiled again for each value that is bound.
export CGO_CFLAGS ?= -Os -g -fno-asynchronous-unwind-tables -fno-unwind-tables -DHAVE_FDATASYNC=1 -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_DEFAULT_MEMSTATUS=0 -DSQLITE_ENABLE_QPSG \
	-Wp,-USQLITE_ENABLE_FTS3 -Wp,-USQLITE_ENABLE_FTS3_PARENTHESIS -Wp,-USQLITE_ENABLE_RTREE
LINT_VERSION := v2.15.0
LINT := $(CURDIR)/bin/golangci-lint-$(LINT_VERSION)
# The parts that need neither cgo nor Linux.
PORTABLE := ./shared/metric/... ./shared/vmjson/... ./shared/journal/... ./shared/hostfs/... ./shared/config/... ./shared/daemon/... ./shared/collect/... ./shared/receiver/... ./shared/version/... ./cmd/metrics-receiver/...

.PHONY: help build daemons receiver probe run linter check quick test bench bench-check bench-peers soak mutation fuzz fleet deb release release-test clean-root arm64 systemd-test golden clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

build: daemons receiver ## the four programs, into bin/

daemons:
	@[ -x '$(BIN)/metrics-collector' ] || echo "building; the first time SQLite is compiled, which takes a minute or two"
	CGO_ENABLED=1 $(GO) build -ldflags '$(LDFLAGS) $(CLDFLAGS)' -o '$(BIN)/' ./cmd/metrics-collector ./cmd/metrics-shipper ./cmd/metrics-health

receiver:
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o '$(BIN)/' ./cmd/metrics-receiver

probe: # the health check of the images
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o '$(BIN)/' ./docker/probe

run: build ## all three daemons in the foreground, until Ctrl-C
	@sh tests/run.sh

linter: $(LINT)

check: $(LINT) ## formatting, vet, lint, tidy modules, other systems
	$(GO) vet ./...
	GOOS=darwin CGO_ENABLED=0 $(GO) vet $(PORTABLE)
	$(GO) mod tidy -diff
	$(LINT) run ./...

$(LINT):
	GOBIN=$(CURDIR)/bin/.tool $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/.tool/golangci-lint $@

TESTFLAGS ?= -race -shuffle=on
# Tests wait more than they compute: twice as many at once as there are processors,
# and the longest packages first, so that none of them is left for the end.
ATONCE := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
LONGEST := ./tests ./shared/health ./shared/ship
test: ## every test, with the race detector, in random order
	@sh tests/tools.sh install
	@rc=0; CGO_ENABLED=1 $(GO) test $(TESTFLAGS) -p $(ATONCE) -parallel $(ATONCE) -timeout 15m $(LONGEST) ./... || rc=$$?; \
	CGO_ENABLED=1 $(GO) test $(filter -short,$(TESTFLAGS)) -run 'ALargeDatabase|PagesAreIntactAreKept|TwoHundredThousand' ./shared/salvage ./shared/upkeep || rc=$$?; sh tests/tools.sh missing; exit $$rc

bench: build bin/store.test ## what a day of samples costs: bytes, syncs, CPU, memory, the wire
	cd shared/store && ../../bin/store.test -test.timeout 30m -test.run '$(MEASURED)' -measure print
	CGO_ENABLED=1 $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 30m ./shared/ship
	$(GO) test -run '^$$' -bench . ./shared/vmjson
	$(MEMORY) MEASURE=print $(GO) test -count 1 -v -run 'MemoryOfAMillion|TheStreamCosts|TheBoardsCollectors|TheWholeDefaultSet' ./tests

bench-check: build bin/store.test ## fail when a day, the wire or the memory costs more than it must, and print the table
	@sh tests/bench-check.sh \
		"cd shared/store && ../../bin/store.test -test.timeout 30m -test.run '$(MEASURED)' -measure check" \
		"$(GO) test -count 1 -v -run 'ASampleCostsFewBytesOnTheWire|BytesOnTheWireInSteadyState|CostOfMoreSeriesOnTheWire' ./shared/ship" \
		"$(GO) run ./tests/peers -bin $(BIN) -check" \
		"$(MEMORY) MEASURE=check $(GO) test -count 1 -v -run 'MemoryOfAMillion|TheStreamCosts|TheBoardsCollectors' ./tests"

bench-peers: daemons ## comparison with other agents: CPU, switches, memory, wire, the cost of an outage
	$(GO) run ./tests/peers -bin $(BIN)

quick: ## vet and the fast unit tests, without the race detector
	$(GO) vet ./...
	CGO_ENABLED=1 $(GO) test -short -p $(ATONCE) -parallel $(ATONCE) ./cmd/... ./shared/...

# As the packaged units set it.
MEMORY := MALLOC_ARENA_MAX=1 MEASURE_BIN=$(CURDIR)/bin

MEASURED := BytesThatADayCosts|SyncsOfATick|NewestOfManyPending|WhileAMillion|AWeekBeside|AnyPageOf
.PHONY: bin/store.test
bin/store.test:
	CGO_ENABLED=1 $(GO) test -c -o $@ ./shared/store

soak: ## the daemons through stops, kills and cuts for MINUTES, then 2,000 kills
	SOAK_MINUTES=$(MINUTES) $(GO) test -v -count 1 -timeout 24h -run '^TestSoak$$' ./tests
	CRASH_ROUNDS=2000 $(GO) test -v -count 1 -timeout 24h -run NothingIsLostOrDoubledOverKills ./tests

MINUTES ?= 30

mutation: ## plant each known fault and check that its tests fail
	MUTATION=all $(GO) test -v -count 1 -timeout 2h ./tests/mutation

fleet: ## BOARDS virtual boards against the server at URL
	$(GO) run ./tests/fleet -boards $(BOARDS) -url $(URL)

BOARDS ?= 100
URL ?= http://127.0.0.1:8428/api/v1/import

deb: ## Debian packages for amd64, arm64 and armhf, into dist/
	sh systemd/package/build.sh

release: ## the release VERSION: packages, static tarballs, SBOMs and checksums, into dist/
	sh systemd/package/release.sh $(RELEASE_VERSION) $(ARCHES)

ifneq ($(origin VERSION),file)
RELEASE_VERSION := $(VERSION)
endif

clean-root: ## the short tests on a Debian with nothing but ca-certificates, gcc, make, git and Go
	sh tests/clean-root.sh

release-test: ## check that two releases of one commit are the same
	sh tests/release.sh amd64

arm64: ## the programs built for arm64 and run under qemu
	sh tests/arm64.sh

systemd-test: ## the package under a real systemd, and a real power cut; PARTS=hdmi plays an HDMI input
	sh tests/systemd/run.sh $(PARTS)

PARTS ?= container powercut

fuzz: ## each fuzz target for 30 seconds
	@sh tests/fuzz.sh 30s

golden: ## rewrite the golden files and the generated parts of the documentation
	$(GO) test ./shared/collect ./shared/config ./shared/health ./tests ./tests/fleet -update

clean: ## remove what was built and run
	rm -rf bin run dist
