package probes

// Weights is the pair on disk.
type Weights struct{}
