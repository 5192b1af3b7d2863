package view

import (
	"fmt"
	"strings"

	"github.com/weighbridge/weighbridge/record"
)

// Evidence is one piece of supply-chain evidence arranged for reading. All of
// its texts but Kind and State may be hostile.
type Evidence struct {
	Kind, State string
	Detail      string
	Signer      string
	// Facts are what it says besides, each a name and a value.
	Facts    []Fact
	Digest   string
	Problems []record.Problem
}

// Fact is one thing that a piece of evidence says.
type Fact struct{ Name, Value string }

var kindNames = map[record.EvidenceKind]string{
	record.Checksums: "Checksums", record.ModelSignature: "Signature", record.FileFormats: "File formats",
	record.BillOfMaterials: "Bill of materials", record.Provenance: "Provenance", record.Rebuild: "Rebuild",
	record.Revocation: "Revocation", record.LedgerProof: "Ledger",
}

// maxListed is how many entries of a list a fact names.
const maxListed = 12

// EvidenceOf arranges one piece.
func EvidenceOf(e *record.Evidence) Evidence {
	v := Evidence{Kind: kindNames[e.Kind], State: string(e.State), Detail: e.Detail, Signer: e.Signer, Digest: e.Digest, Problems: e.Problems}
	if v.Kind == "" {
		v.Kind = string(e.Kind)
	}
	fact := func(name, value string) {
		if value != "" {
			v.Facts = append(v.Facts, Fact{name, value})
		}
	}
	number := func(name string, n *int) {
		if n != nil {
			fact(name, Count(*n))
		}
	}
	fact("judged at", e.Time)
	fact("by", e.Method)
	number("files", e.Files)
	if e.Bytes != nil {
		fact("size", Bytes(*e.Bytes))
	}
	fact("root", listed(e.Roots))
	fact("identity", e.Identity)
	fact("left out by the signer", listed(e.Ignored))
	fact("licences", listed(e.Licences))
	fact("made from", listed(e.BaseModels))
	number("datasets with a digest", e.Datasets)
	number("digests compared", e.Checked)
	number("digests only claimed", e.Unchecked)
	fact("gaps", listed(e.Gaps))
	fact("builder", e.Builder)
	if e.Index != nil {
		fact("entry", Count(*e.Index))
	}
	return v
}

func listed(list []string) string {
	s := strings.Join(list[:min(len(list), maxListed)], ", ")
	if n := len(list) - maxListed; n > 0 {
		s += fmt.Sprintf(" and %s more", Count(n))
	}
	return s
}

// NotAsked is what every format says of a run that looked at behaviour alone.
const NotAsked = "Where the weights come from was not asked: this verdict is about behaviour only."

// Asked reports whether a run looked at any supply-chain evidence.
func Asked(run *record.Run) bool {
	for _, e := range run.Evidence {
		if e.State != record.NotAsked {
			return true
		}
	}
	return false
}
