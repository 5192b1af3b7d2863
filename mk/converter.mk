# The converter: Ollama's convert as the guest of a box, one static file.

.PHONY: bin/converter
bin/converter: ## makes GGUF of safetensors; Go's cache decides what is stale
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $@ ./cmd/converter
