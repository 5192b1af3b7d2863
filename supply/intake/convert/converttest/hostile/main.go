// Hostile is a converter that was taken over: it answers the host's request
// with an endless file, junk, a file that is cut off, a status that is meant to
// look like another, or never. The way is linked in, since the box's arguments are the
// host's.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/weighbridge/weighbridge/harness/sandbox/guest"
	"github.com/weighbridge/weighbridge/supply/intake/convert/protocol"
)

var mode string // set by -ldflags -X

func main() {
	wire, err := guest.TakeOver()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(wire.Serve(context.Background(), http.HandlerFunc(serve), guest.Options{}))
}

func serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", protocol.Status)
	block := make([]byte, 1<<20)
	switch mode {
	case "endless":
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	case "junk":
		w.Write([]byte("GGUF\x03\x00\x00\x00 and no more"))
		w.Header().Set(protocol.Status, protocol.Done)
	case "cut":
		w.Write(block)
	case "status":
		w.Header().Set(protocol.Status, "failed \u202edone")
	case "silent":
		<-r.Context().Done()
	}
}
