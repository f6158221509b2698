# Needs Go, make and git; a C compiler adds the race detector to the tests. `make help` lists the targets.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BENCHTIME ?= 1s
FUZZRUNS  ?= 50000x
TIME      ?= 10m
SEEDS     ?= 250
# One step may take so long: that ends what hangs, and nothing else on a slow machine.
LIMIT     ?= 30m
TOOL      := go tool -modfile=tools/go.mod

# -race needs cgo, and cgo a C compiler that works: ask for both at once.
RACE = $$(go build -race runtime/cgo 2>/dev/null && echo -race || echo 'no C compiler: tests run without -race' >&2)

.PHONY: build
build: ## make bin/tidings, a static binary (the default)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidings ./cmd/tidings

.PHONY: run
run: build ## show the whole job at work, with no account; ARGS='--for 10s' goes to `tidings demo`
	bin/tidings demo $(ARGS)

.PHONY: test
test: ## vet, and every test that is quick
	go vet ./...
	go test -short -shuffle=on -parallel 8 -timeout $(LIMIT) $(RACE) ./...

.PHONY: crash
crash: ## kill the daemon at random moments and see that nothing is lost
	go test -run '^TestCrash' -count 1 -timeout $(LIMIT) $(RACE) ./cmd/tidings

.PHONY: conform
conform: ## every preset against its simulated API, SEEDS schedules each of faults and kills in fake time
	@echo "schedules 1 to $(SEEDS) of each preset"
	TMPDIR=$$(test -w /dev/shm && echo /dev/shm || echo "$${TMPDIR:-/tmp}") \
		go test -run '^TestConformance$$' -count 1 -timeout $(LIMIT) ./cmd/tidings -conform.seeds $(SEEDS)

.PHONY: stripe
stripe: ## the preset stripe against stripe-mock, which Stripe wrote
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	if go mod download -modfile=tools/go.mod github.com/stripe/stripe-mock; then \
		go build -modfile=tools/go.mod -o "$$dir/stripe-mock" github.com/stripe/stripe-mock && \
		STRIPE_MOCK="$$dir/stripe-mock" go test -run '^TestStripeMock$$' -count 1 -timeout $(LIMIT) -v ./cmd/tidings; \
	else echo "skipped: stripe-mock can't be had"; fi

PROOFS := ^Test(PowerLoss|PowerLossInRepair|PowerLossInPlacing|Kill|InjectedFaults|FaultsBesideTheWork|BitFlips|FlippedBits|FlippedNames|FlippedStructure|Truncations|AFullDisk|NoRoomForAFirstStart|NoRoomForABackup|SyncsOfASettlement)$$

.PHONY: proof
proof: build ## the store: every power cut of a run, kills, every error of the system, damage, and that wrong stores are found out
	go test -run '$(PROOFS)' -count 1 -timeout $(LIMIT) -v ./store
	go test -skip '$(PROOFS)' -count 1 -timeout $(LIMIT) ./store -walk.steps 3000
	go test -tags mutants -run '^TestMutants$$' -count 1 -timeout $(LIMIT) -v ./store
	@! grep -q TIDINGS_MUTANT bin/tidings || { echo "bin/tidings can be told to do wrong"; exit 1; }

.PHONY: torture
torture: ## the same, the store's random walk, and the presets, for TIME with other seeds each time
	go test -run '$(PROOFS)' -count 1 -timeout 0 -v ./store -torture.time $(TIME)
	go test -run '^TestRandomWalk$$' -count 1 -timeout 0 -v ./store -walk.steps 6000 -torture.time $(TIME)
	go test -tags mutants -run '^TestMutants$$' -count 1 -timeout 0 -v ./store
	seed=$$(date +%s); TIDINGS_DELIVERY_SEED=$$seed TIDINGS_FAULTS_SEED=$$seed TIDINGS_CRASH_SEED=$$seed go test -run '^Test(Delivery|Faults|Crash)Lose' -count 1 -timeout 0 -v ./cmd/tidings
	go test -run '^TestConformance$$' -count 1 -timeout 0 ./cmd/tidings -conform.time $(TIME) -conform.from $$(date +%s)000

.PHONY: fuzz
fuzz: ## each fuzz target, FUZZRUNS times
	tools/fuzz $(FUZZRUNS)

.PHONY: bench
bench: bench-quick bench-scale ## every figure: those of the README, then those of a large store

.PHONY: bench-quick
bench-quick: build ## the figures of the README; BENCHTIME is the time of one benchmark
	go test -run '^$$' -bench . -skip 'Scale|Shrink|UnderTraffic' -benchmem -benchtime $(BENCHTIME) -timeout $(LIMIT) ./...

.PHONY: bench-scale
bench-scale: ## the figures of a store with ten million ids and a million events owed, and of compactions: some minutes, 3 GB of disk
	go test ./store -run '^$$' -bench '^BenchmarkScale$$' -benchtime 2500x -scale.ids 10000000 -scale.owed 1000000 -timeout 15m -v
	go test ./store -run '^$$' -bench 'Shrink|UnderTraffic' -benchtime 1x -timeout 10m -v

.PHONY: lint
lint: ## formatting, modules, vet, modern Go, staticcheck
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "not formatted, run gofmt -w on: $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./...
	go fix -diff ./...
	$(TOOL) staticcheck ./...

.PHONY: vuln
vuln: ## known vulnerabilities in what the binary uses; asks https://vuln.go.dev
	timeout 10m $(TOOL) govulncheck ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 13
