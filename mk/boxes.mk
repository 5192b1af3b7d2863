# What boxes need: containerd and runc from the distribution, gVisor from its Go
# module at the version that tools/go.mod pins.

.PHONY: boxes-deps
boxes-deps:
	@if ! command -v containerd >/dev/null || ! command -v runc >/dev/null; then \
		echo 'installing containerd and runc'; \
		apt-get install -y --no-install-recommends containerd runc >/dev/null \
		|| { apt-get update >/dev/null && apt-get install -y --no-install-recommends containerd runc >/dev/null; }; \
	fi

# A change of the pin rebuilds it; the first build takes about two minutes.
bin/runsc: tools/go.mod tools/go.sum
	@mkdir -p bin
	cd tools && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../bin/runsc gvisor.dev/gvisor/runsc
	@touch $@
