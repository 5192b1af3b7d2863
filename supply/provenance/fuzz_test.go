package provenance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/supply/bundle"
)

// FuzzStatement reads any bytes as a draft and checks what comes out: bounded,
// no crash, bad input is ErrFormat, and what was read can be written and read
// again with the same outcome.
func FuzzStatement(f *testing.F) {
	m := read(f, folder(f, "m", map[string]string{"a": "1"}))
	for _, kind := range Kinds {
		st := statement(f, m, kind, complete())
		raw, err := json.Marshal(st)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","predicate":{"materials":[{"uri":"git+https://x","digest":{"sha1":"00"}}]}}`))
	f.Add([]byte(`{"a":1,"A":2}`))
	f.Add([]byte("{\"a\":\"\xff\"}"))
	f.Add([]byte(`{"predicate":{"buildDefinition":{"externalParameters":{"recipe":{"type":"Q8_0"},"type":"Q8_0"}}}} x`))
	f.Fuzz(func(t *testing.T, src []byte) {
		st, err := ParseStatement(src)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("%v is no ErrFormat", err)
			}
			return
		}
		facts, links, problems, err := Check(context.Background(), st, m, Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if facts.State == record.Valid && len(problems) > 0 || facts.State != record.Valid && len(problems) == 0 {
			t.Fatalf("%s with %v", facts.State, problems)
		}
		seen := map[string]bool{Candidate: true}
		for _, l := range links {
			if seen[l.Name] && l.Digest == "" || len(l.Name) > 300 {
				t.Fatalf("link %+v", l)
			}
			seen[l.Name] = true
		}
		if facts.Document != nil {
			_, _ = facts.Document.Recipe()
		}
		again, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		st2, err := ParseStatement(again)
		if err != nil {
			t.Fatalf("%v after a round trip of %q", err, src)
		}
		if a, err := json.Marshal(st2); err != nil || !bytes.Equal(a, again) {
			t.Fatalf("another statement after a round trip: %s, %s, %v", a, again, err)
		}
	})
}

// FuzzPredicate reads any bytes as a predicate of either version.
func FuzzPredicate(f *testing.F) {
	f.Add([]byte(`{"buildDefinition":{"resolvedDependencies":[{"digest":{"sha256":"00"},"annotations":{"weighbridge.dev/bytes":1}}]}}`))
	f.Add([]byte(`{"materials":[]}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		for _, kind := range []string{bundle.PredicateProvenance, PredicateV02} {
			d, err := Parse(kind, src)
			if err != nil && !errors.Is(err, ErrFormat) {
				t.Fatalf("%v is no ErrFormat", err)
			}
			if err == nil && d == nil {
				t.Fatal("neither a document nor an error")
			}
		}
	})
}
