package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weighbridge/weighbridge/supply/ledger/entry"
)

// entryFlags are the fields of an entry on the command line.
type entryFlags struct {
	e                             entry.Entry
	typ, model, identity, oci, at string
	policy                        string
	evidence                      []string
}

func (f *entryFlags) register(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.typ, "type", "", "type of the entry (docs/ledger.md lists them)")
	fs.StringVar(&f.e.Actor, "actor", "", "who does it: login, e-mail address, key fingerprint, workload URI")
	fs.StringVar(&f.model, "model", "", "OMS root of the weights, hex")
	fs.StringVar(&f.identity, "identity", "", "weighbridge identity of the weights")
	fs.StringVar(&f.e.Name, "name", "", "the model's name in the trust file")
	fs.StringVar(&f.oci, "oci", "", "digest of the manifest in a registry")
	fs.StringVar(&f.e.Environment, "env", "", "target environment, such as prod")
	fs.StringArrayVar(&f.evidence, "evidence", nil, "KIND=DIGEST, or KIND=@FILE to take a file's digest (repeatable)")
	fs.StringVar(&f.policy, "policy", "", "digest of the policy, or @FILE")
	fs.StringVar(&f.e.Decision, "decision", "", "one of the type's decisions")
	fs.StringVar(&f.e.Alias, "alias", "", "alias that moves, such as champion")
	fs.StringVar(&f.e.Previous, "previous", "", "state before: a digest, or none")
	fs.StringVar(&f.e.New, "new", "", "state after: a digest (default: the model, or the policy of a policy-version)")
	fs.StringVar(&f.e.Target, "target", "", "key ID or identity that is revoked")
	fs.StringVar(&f.e.Since, "since", "", "time from which a revocation counts, RFC 3339 UTC")
	fs.StringVar(&f.e.Expires, "expires", "", "time at which an approval ends, RFC 3339 UTC")
	fs.StringVar(&f.e.Reason, "reason", "", "why: one line of a person; rule codes joined by \"; \" where a program decides")
	fs.StringVar(&f.at, "time", "", "when it happened, RFC 3339 UTC (default now)")
}

// entry makes the entry that the flags describe.
func (f *entryFlags) entry(now time.Time) (entry.Entry, error) {
	if f.typ == "" {
		return entry.Entry{}, usagef("--type is missing; one of %v", entry.Types())
	}
	if f.e.Actor == "" {
		return entry.Entry{}, usagef("--actor is missing: who does this")
	}
	e := f.e
	e.PredicateType, e.Version, e.Type, e.Time = entry.PredicateType, entry.Version, entry.Type(f.typ), entry.Stamp(now)
	if f.at != "" {
		e.Time = f.at
	}
	for _, d := range []struct {
		to   *entry.Digest
		from string
	}{{&e.Model, f.model}, {&e.Identity, f.identity}, {&e.OCI, f.oci}, {&e.Policy, f.policy}} {
		if d.from == "" {
			continue
		}
		var err error
		if *d.to, err = digestOf(d.from); err != nil {
			return e, err
		}
	}
	for _, v := range f.evidence {
		kind, from, ok := strings.Cut(v, "=")
		if !ok {
			return e, usagef("--evidence %q: want KIND=DIGEST or KIND=@FILE", v)
		}
		d, err := digestOf(from)
		if err != nil {
			return e, err
		}
		e.Evidence = append(e.Evidence, entry.Evidence{Kind: kind, Digest: d})
	}
	if e.New == "" {
		switch e.Type {
		case entry.AliasMove, entry.Rollback, entry.Deploy:
			e.New = string(e.Model)
		case entry.PolicyVersion:
			e.New = string(e.Policy)
		}
	}
	return e, nil
}

// digestOf reads a digest, or takes that of a file.
func digestOf(s string) (entry.Digest, error) {
	name, ok := strings.CutPrefix(s, "@")
	if !ok {
		return entry.SHA256(s), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return entry.SHA256(hex.EncodeToString(h.Sum(nil))), nil
}
