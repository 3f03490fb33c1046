# punchlab: `make help` lists the targets. Go is all that is needed; `make test` uses more where it is installed.
GO      ?= go
BIN     := bin/punchlab
PKGS    := ./...
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: help build run peers store test gate faults check bench soak docs fuzz clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/punchlab
	@$(GO) build -ldflags "-X main.commit=$$(git rev-parse HEAD 2>/dev/null)" -o $(BIN) ./lab/punchlab

run: build ## the main job: nat-matrix, real sockets behind real NATs; writes out/nat-matrix/report.html
	@rm -rf out/nat-matrix && $(BIN) run nat-matrix --out out/nat-matrix

DCUTR := impl/peers/dcutr

peers: ## build bin/dcutr, the go-libp2p peer (a Go module of its own)
	cd $(DCUTR) && $(GO) build -trimpath -o ../../../bin/dcutr .

STORE := impl/cloud/versitygw

store: ## build bin/versitygw, the S3 server that recordings are tested against (a Go module of its own)
	cd $(STORE) && $(GO) build -trimpath -o ../../../bin/versitygw github.com/versity/versitygw/cmd/versitygw

test: peers store ## every test
	cd $(DCUTR) && $(GO) test ./...
	$(GO) test $(PKGS)

# Virtual time is the same on every machine, so one baseline serves them all. After a change that means to change the
# figures: bin/punchlab baseline add out/gate --note 'why'
gate: build ## nat-matrix in virtual time, held to its thresholds and to reports/baselines
	@rm -rf out/gate && $(BIN) run nat-matrix --engine sim --out out/gate --format html
	$(BIN) gate --baseline reports/baselines/nat-matrix.jsonl out/gate

check: ## gofmt, go vet, staticcheck, modules tidy
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "run gofmt -w on the files above" >&2; exit 1; }
	$(GO) vet $(PKGS)
	$(GO) run $(STATICCHECK) $(PKGS)
	$(GO) mod tidy -diff
	cd $(DCUTR) && $(GO) vet . && $(GO) run $(STATICCHECK) . && $(GO) mod tidy -diff
	cd $(STORE) && $(GO) mod tidy -diff

faults: ## every case of the certification, brief, finds the camera that is broken its way; writes out/faults/faults.html
	@mkdir -p out && rm -rf out/faults
	PUNCHLAB_FAULTS=$(CURDIR)/out/faults $(GO) test ./lab/mutants/faults -run Kit -count 1 -timeout 40m

# One package at a time: what runs beside a measurement is in it.
bench: build ## the figures of README.md, each beside its bound or peer
	$(GO) test -p 1 -run '^$$' -bench . -benchtime 1s ./lab/nat ./lab/netfilter ./lab/live ./lab/fabric ./lab/link ./lab/packet ./lab/capture/... ./lab/record ./lab/stats ./impl/session ./impl/media ./impl/node ./impl/virtual
	$(GO) test -p 1 -run '^$$' -bench . -benchtime 1s -timeout 30m ./impl/rendezvous ./impl/store ./impl/cloud ./impl/cluster ./impl/program/rendezvous
	$(GO) test -p 1 -run '^$$' -bench 'Up|Reset|Configure' -benchtime 1s ./lab
	$(GO) test -p 1 -run '^$$' -bench Topologies -benchtime 1x -timeout 20m ./lab
	$(GO) test -p 1 -run '^$$' -bench 'Trials' -benchtime 2000x ./lab/runner
	$(GO) test -p 1 -run '^$$' -bench FirstFrame -benchtime 100x ./lab/runner
	$(GO) test -p 1 -run '^$$' -bench Shell -benchtime 1x -timeout 20m ./lab/runner
	$(GO) test -p 1 -run '^$$' -bench Sim -benchtime 200x ./lab/stack
	$(GO) test -p 1 -run '^$$' -bench Memory -benchtime 1x ./lab/runner
	$(GO) test -p 1 -run '^$$' -bench 'Relay|MediaThroughput|MediaAllocations' -benchtime 7x -timeout 10m ./lab/stack
	$(GO) test -p 1 -run '^$$' -bench Flood -benchtime 1x -timeout 30m ./lab/attack/soak
	$(GO) test -p 1 -run '^$$' -bench MediaGoodput -benchtime 2x ./lab/stack

soak: build peers store ## longer sweeps: every behaviour pair, strategy, peer and link on both engines, every event and quirk; 10,000 tries of each attack (out/soak/attack/attacks.html); the bundled camera certified (eight hours)
	$(BIN) run nat-pairs links cgn same-lan reboot renumbering handover rendezvous-killed port-mapping engines --trials 50 --out out/soak
	$(BIN) run strategies helped peers paper-tables birthday-curve traditional-vs-p2p lossy-punch roaming sleep --out out/soak
	$(BIN) run inbound-first inbound-blocked low-ttl-arrives icmp-error flow-limit misclassified path-flapping no-relay --trials 50 --out out/soak
	$(BIN) run presence setup-steps pull-only cloud-vs-pull fleet rendezvous-failover --out out/soak
	$(BIN) run nat-pairs --engine table --trials 50 --out out/soak/nat-pairs-table
	$(BIN) run nat-matrix --engine sim --trials 1400 --out out/soak/large-sim
	$(BIN) run nat-matrix --trials 50 --out out/soak/large
	$(BIN) gate --calibrate out/soak/large --gates 1000 --trials 20
	PUNCHLAB_SOAK=1 PUNCHLAB_MUTANTS=$(CURDIR)/out/soak $(GO) test ./lab/mutants -run Kit -count 1 -timeout 60m
	PUNCHLAB_SOAK=1 PUNCHLAB_SOAK_OUT=$(CURDIR)/out/soak/attack $(GO) test ./lab/attack/soak -run 'Nothing|Table' -parallel 1 -count 1 -v -timeout 30m
	$(BIN) certify --out out/soak/certificate
	PUNCHLAB_SOAK=1 $(GO) test ./lab/certify/rtsp -run Certified -count 1 -v -timeout 20m
	PUNCHLAB_SOAK=1 $(GO) test ./lab/agree -run Random -count 10
	PUNCHLAB_SOAK=1 $(GO) test ./lab/nat ./lab/link ./lab/packet ./lab/fabric ./lab/capture/... ./lab/record ./lab/stats -rapid.checks 2000

docs: ## rewrite the generated part of README.md
	$(GO) test ./lab/punchlab -run README -update

fuzz: ## half a minute on each fuzz target
	@for p in $$($(GO) list $(PKGS)); do for f in $$($(GO) test -list '^Fuzz' $$p | grep ^Fuzz); do \
	  echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 30s $$p || exit 1; done; done

clean: ## remove what was built and measured here
	rm -rf bin out
