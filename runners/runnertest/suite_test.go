package runnertest

import (
	"testing"

	"github.com/weighbridge/weighbridge/runners"
)

func TestFakeKeepsTheContract(t *testing.T) {
	Suite(t, func(*testing.T) runners.Model { return New(Options{Drift: 0.2}) })
}
