package probes

import "github.com/weighbridge/weighbridge/weights"

// Weights is the pair on disk: both models, open for bounded reading, and the
// tensor-by-tensor comparison that was made when they were identified.
type Weights struct {
	Baseline, Candidate *weights.Model
	Comparison          *weights.Comparison
}
