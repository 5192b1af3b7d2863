# The engine: llama.cpp as carried by github.com/ollama/ollama, linked with its
# server into one static file that is the whole root file system of a box.
#
#   make engine-deps            compilers (Debian, needs root)
#   make bin/modelserver        the server
#   make engine-test            tests that run the engine
#   make engine-bench           figures; ENGINE_BENCH_MODEL=file.gguf
#
# ENGINE_LEVEL names the instruction set: native (this machine's, the default),
# x86-64-v3, x86-64-v4, or any other value of gcc's -march. Level, compiler and
# flags are part of the engine's identity, since they choose the kernels and so
# the bits of every result.
#
# Only llama.cpp's library is compiled (package llama/llama.cpp/src), none of its
# tools, so that no header is missing which module archives drop.

ENGINE_LEVEL ?= native
ENGINE_CC    ?= gcc
ENGINE_CXX   ?= g++
ENGINE_BENCH_MODEL ?= $(WEIGHBRIDGE_SMOLLM2)

ENGINE_FLAGS  := -O3 -march=$(ENGINE_LEVEL)
ENGINE_TAGS   := engine,netgo,osusergo
# Until a module is downloaded it has no folder.
ENGINE_OLLAMA  = $(shell go mod download github.com/ollama/ollama && go list -m -f '{{.Dir}}' github.com/ollama/ollama)
# What gcc takes the level for, e.g. "sapphirerapids" for native.
ENGINE_ARCH    = $(shell $(ENGINE_CC) -march=$(ENGINE_LEVEL) -Q --help=target 2>/dev/null | sed -n 's/^ *-march= *\t*//p' | head -1)
ENGINE_BUILD   = $(shell $(ENGINE_CC) --version | head -1), $(ENGINE_FLAGS), $(ENGINE_ARCH)

ENGINE_ENV = CGO_ENABLED=1 CC='$(ENGINE_CC)' CXX='$(ENGINE_CXX)' \
	CGO_CPPFLAGS='-I$(ENGINE_OLLAMA)/llama/llama.cpp/include -I$(ENGINE_OLLAMA)/ml/backend/ggml/ggml/include' \
	CGO_CFLAGS='$(ENGINE_FLAGS)' CGO_CXXFLAGS='$(ENGINE_FLAGS)' \
	CGO_CFLAGS_ALLOW='-f(no-math-errno|no-trapping-math|associative-math|no-signed-zeros)'
ENGINE_X       = -X "github.com/weighbridge/weighbridge/runners/llamacpp.build=$(ENGINE_BUILD)"
ENGINE_LDFLAGS = -s -w -linkmode external -extldflags -static $(ENGINE_X)

.PHONY: engine-deps engine-vet engine-test engine-bench boxes-bench FORCE

engine-deps:
	@if ! command -v gcc >/dev/null || ! command -v g++ >/dev/null; then \
		echo 'installing gcc and g++'; \
		apt-get install -y --no-install-recommends gcc g++ libc6-dev >/dev/null \
		|| { apt-get update >/dev/null && apt-get install -y --no-install-recommends gcc g++ libc6-dev >/dev/null; }; \
	fi

# cmd/go knows what is up to date. One static-link warning about dlopen is
# expected: nothing is ever loaded, the CPU back end is linked in.
bin/modelserver: FORCE
	@mkdir -p bin
	@$(ENGINE_ENV) go build -tags $(ENGINE_TAGS) -ldflags '$(ENGINE_LDFLAGS)' -o $@ ./cmd/modelserver 2>bin/.modelserver.log \
		|| { cat bin/.modelserver.log; exit 1; }

engine-vet:
	$(ENGINE_ENV) go vet -tags $(ENGINE_TAGS) ./runners/llamacpp ./cmd/modelserver/... ./bench/engine ./bench/boxes

engine-test:
	$(ENGINE_ENV) go test -tags $(ENGINE_TAGS) -ldflags '$(ENGINE_X)' ./runners/llamacpp ./cmd/modelserver/...

engine-bench:
	$(ENGINE_ENV) go run -tags $(ENGINE_TAGS) -ldflags '$(ENGINE_X)' ./bench/engine -model $(ENGINE_BENCH_MODEL)

boxes-bench: bin/modelserver
	$(ENGINE_ENV) go run -tags $(ENGINE_TAGS) -ldflags '$(ENGINE_X)' ./bench/boxes -model $(BOXES_BENCH_MODEL)

FORCE:
