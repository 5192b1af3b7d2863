// Command testowner opens a host, starts a box and waits to be killed. The
// conformance suite needs it because a test cannot kill -9 itself.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/weighbridge/weighbridge/harness/sandbox"
)

func main() {
	var in struct {
		Config sandbox.Config
		Spec   sandbox.Spec
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &in); err != nil {
		log.Fatal(err)
	}
	h, err := sandbox.Open(context.Background(), in.Config)
	if err != nil {
		log.Fatal(err)
	}
	b, err := h.Start(context.Background(), in.Spec)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.ID)
	select {}
}
