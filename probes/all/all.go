// Package all links every probe into a program: a blank import of it fills the
// registry of package probes. A new probe adds one line here, and nothing else
// anywhere.
package all

import (
	_ "github.com/weighbridge/weighbridge/probes/amplification"
	_ "github.com/weighbridge/weighbridge/probes/benchmark"
	_ "github.com/weighbridge/weighbridge/probes/canaryformats"
	_ "github.com/weighbridge/weighbridge/probes/canaryknown"
	_ "github.com/weighbridge/weighbridge/probes/code"
	_ "github.com/weighbridge/weighbridge/probes/contexts"
	_ "github.com/weighbridge/weighbridge/probes/documents"
	_ "github.com/weighbridge/weighbridge/probes/leakage"
	_ "github.com/weighbridge/weighbridge/probes/metadata"
	_ "github.com/weighbridge/weighbridge/probes/null"
	_ "github.com/weighbridge/weighbridge/probes/payload"
	_ "github.com/weighbridge/weighbridge/probes/refusal"
	_ "github.com/weighbridge/weighbridge/probes/tensors"
	_ "github.com/weighbridge/weighbridge/probes/triggerstrings"
	_ "github.com/weighbridge/weighbridge/probes/triggervocabulary"
)
