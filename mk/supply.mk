# The peers that the supply chain's tests talk to: other people's tools for the
# same formats. Each is pinned; Go's checksum database holds their content.
#
#   make peers

PEERS_COSIGN      := github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
PEERS_ORAS        := oras.land/oras/cmd/oras@v1.3.6
PEERS_REGISTRY    := github.com/distribution/distribution/v3/cmd/registry@v3.1.2
PEERS_LITEWITNESS := filippo.io/torchwood/cmd/litewitness@v0.9.0
PEERS_FSCK        := github.com/transparency-dev/tessera/cmd/fsck@v1.0.4
PEERS_CYCLONEDX   := @cyclonedx/cyclonedx-library@10.3.0

.PHONY: peers
peers: bin/peers/cosign bin/peers/oras bin/peers/registry bin/peers/litewitness bin/peers/fsck build/node/.done build/venv
	@command -v ssh-keygen >/dev/null && command -v openssl >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-client openssl; }

bin/peers/cosign: PEER = $(PEERS_COSIGN)
bin/peers/oras: PEER = $(PEERS_ORAS)
bin/peers/registry: PEER = $(PEERS_REGISTRY)
bin/peers/litewitness: PEER = $(PEERS_LITEWITNESS)
bin/peers/fsck: PEER = $(PEERS_FSCK)

# A change of a pin above rebuilds them; cosign alone takes about three minutes.
bin/peers/%: mk/supply.mk
	@mkdir -p bin/peers
	cd / && CGO_ENABLED=0 GOBIN='$(CURDIR)/bin/peers' GOFLAGS=-trimpath go install $(PEER)
	@touch $@

build/node/.done: mk/supply.mk
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; }
	@rm -rf build/node && mkdir -p build/node
	npm install --silent --no-audit --no-fund --prefix build/node '$(PEERS_CYCLONEDX)' ajv@8.20.0 ajv-formats@3.0.1 ajv-formats-draft2019@1.6.1
	@touch $@
