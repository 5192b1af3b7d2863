package signing

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/manifest"
)

// The rules of errors from Open, besides those of package bundle.
const (
	RulePredicateType = "signature-predicate"     // not a model signature
	RuleSubjects      = "signature-subject"       // not exactly one model with a root
	RulePredicate     = "signature-predicate-bad" // the predicate cannot be read
	RuleSerialization = "signature-serialization" // missing, or of an unknown kind
	RuleResources     = "signature-resources"     // none, too many, twice, or with bad names or digests
	RuleIgnorePaths   = "signature-ignore-paths"  // paths that are none
	RuleRoot          = "signature-root"          // the root is not that of the resources
)

// Serialization says how a folder became resources.
type Serialization struct {
	Method        manifest.Method
	Hash          manifest.Hash
	ShardSize     int64 // bytes, for manifest.Shards
	AllowSymlinks bool
}

// Signature is an opened OMS signature. Nothing in it is trusted before one of
// the Verify functions of its Bundle returned nil.
type Signature struct {
	Bundle        *bundle.Bundle
	Name          string // of the model, as the signer called it; says nothing
	Serialization Serialization
	Resources     []manifest.Resource // in the order listed; sizes are unknown (-1) but for shards
	Root          string              // hex; "" in signatures of model-signing 0.2.0, which have none
	IgnorePaths   []string            // as signed, cleaned, in the order listed
}

// Single reports whether the model is one file whose name does not count: the
// Python implementation calls it ".".
func (s *Signature) Single() bool { return len(s.Resources) == 1 && s.Resources[0].Name == "." }

// Hidden are the signed ignore paths beyond those of git and of the evidence
// files: whatever lies there was never signed. signatureFile is the name of the
// signature's own file in the folder, or "".
func (s *Signature) Hidden(signatureFile string) []string {
	var hidden []string
	for _, p := range s.IgnorePaths {
		if !slices.Contains(manifest.GitPaths, p) && !slices.Contains(manifest.EvidenceFiles, p) && p != signatureFile {
			hidden = append(hidden, p)
		}
	}
	slices.Sort(hidden)
	return slices.Compact(hidden)
}

type predicate struct {
	Serialization *struct {
		Method        string    `json:"method"`
		HashType      string    `json:"hash_type"`
		ShardSize     *wholeNum `json:"shard_size,omitempty"`
		AllowSymlinks bool      `json:"allow_symlinks"`
		IgnorePaths   *[]string `json:"ignore_paths,omitempty"`
	} `json:"serialization"`
	Resources []resource `json:"resources"`
}

// wholeNum is an integer that may be written as 1000.0: the Python
// implementation passes numbers through a protobuf Struct, which has doubles only.
type wholeNum int64

func (n *wholeNum) UnmarshalJSON(src []byte) error {
	f, err := strconv.ParseFloat(string(src), 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return fmt.Errorf("%.40s is not a whole number", src)
	}
	*n = wholeNum(f)
	return nil
}

type resource struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Digest    string `json:"digest"`
}

// ErrSignature is what every error of Open about the statement wraps, besides
// bundle.ErrFormat.
var ErrSignature = fmt.Errorf("%w: not an OMS model signature", bundle.ErrFormat)

func badf(rule, format string, args ...any) error {
	return bundle.Faultf(ErrSignature, rule, format, args...)
}

// Open reads a signature and checks its structure: one subject, known
// serialization, at least one resource, clean names, none twice, digests of
// the right length, and a root that is the resources' own. Errors wrap
// bundle.ErrFormat and have a bundle.Rule.
func Open(raw []byte) (*Signature, error) {
	b, err := bundle.Parse(raw)
	if err != nil {
		return nil, err
	}
	switch b.Statement.PredicateType {
	case bundle.PredicateOMS:
		return openV1(b)
	case bundle.PredicateOMSv02:
		return openV02(b)
	}
	return nil, badf(RulePredicateType, "predicateType is %.200q, wanted %q", b.Statement.PredicateType, bundle.PredicateOMS)
}

func openV1(b *bundle.Bundle) (*Signature, error) {
	if n := len(b.Statement.Subject); n != 1 {
		return nil, badf(RuleSubjects, "subject has %d entries, wanted exactly 1", n)
	}
	subject := b.Statement.Subject[0]
	if _, err := parseHex(subject.Digest["sha256"], 32); err != nil {
		return nil, badf(RuleSubjects, "subject[0].digest.sha256: %w", err)
	}
	if len(b.Statement.Predicate) == 0 {
		return nil, badf(RulePredicate, "predicate is missing")
	}
	// The names in this predicate are all the format's own, so that two of them
	// that differ in case only would be read as one.
	if err := bundle.Strict(b.Statement.Predicate); err != nil {
		return nil, badf(RulePredicate, "predicate: %w", err)
	}
	var p predicate
	if err := json.Unmarshal(b.Statement.Predicate, &p); err != nil {
		return nil, badf(RulePredicate, "predicate: %w", err)
	}
	s := &Signature{Bundle: b, Name: subject.Name, Root: subject.Digest["sha256"]}
	if err := s.serialization(p); err != nil {
		return nil, err
	}
	if err := s.resources(p.Resources); err != nil {
		return nil, err
	}
	if got := manifest.Root(s.Resources); got != s.Root {
		return nil, badf(RuleRoot, "subject[0].digest.sha256 is %s, and the resources have the root %s", s.Root, got)
	}
	return s, nil
}

// openV02 reads the statements of model-signing 0.2.0: one subject a file, no
// serialization and no root.
func openV02(b *bundle.Bundle) (*Signature, error) {
	s := &Signature{Bundle: b, Serialization: Serialization{Method: manifest.Files, Hash: manifest.SHA256}}
	rs := make([]resource, len(b.Statement.Subject))
	for i, sub := range b.Statement.Subject {
		rs[i] = resource{Name: sub.Name, Algorithm: "sha256", Digest: sub.Digest["sha256"]}
	}
	return s, s.resources(rs)
}

func (s *Signature) serialization(p predicate) error {
	w := p.Serialization
	if w == nil {
		return badf(RuleSerialization, "predicate.serialization is missing")
	}
	s.Serialization = Serialization{Method: manifest.Method(w.Method), Hash: manifest.Hash(w.HashType), AllowSymlinks: w.AllowSymlinks}
	if s.Serialization.Hash.Size() == 0 {
		return badf(RuleSerialization, "predicate.serialization.hash_type is %.100q; there are sha256, blake2b and blake3", w.HashType)
	}
	switch s.Serialization.Method {
	case manifest.Files:
	case manifest.Shards:
		s.Serialization.ShardSize = manifest.DefaultShard
		if w.ShardSize != nil {
			s.Serialization.ShardSize = int64(*w.ShardSize)
		}
		// Smaller shards would make a manifest larger than its model.
		if s.Serialization.ShardSize < 1 {
			return badf(RuleSerialization, "predicate.serialization.shard_size is %d", s.Serialization.ShardSize)
		}
	default:
		return badf(RuleSerialization, "predicate.serialization.method is %.100q; there are files and shards", w.Method)
	}
	if w.IgnorePaths == nil {
		return nil
	}
	for i, ignore := range *w.IgnorePaths {
		clean, err := manifest.CleanIgnore(ignore)
		if err != nil {
			return badf(RuleIgnorePaths, "predicate.serialization.ignore_paths[%d]: %w", i, err)
		}
		s.IgnorePaths = append(s.IgnorePaths, clean)
	}
	return nil
}

func (s *Signature) resources(rs []resource) error {
	if len(rs) == 0 {
		return badf(RuleResources, "it lists no resources; a model has at least one file")
	}
	seen := make(map[string]bool, len(rs))
	for i, r := range rs {
		size := int64(-1)
		file := r.Name
		if s.Serialization.Method == manifest.Shards {
			f, start, end, err := manifest.ParseShard(r.Name)
			if err != nil {
				return badf(RuleResources, "resources[%d].name: %w", i, err)
			}
			if file, size = f, end-start; start%s.Serialization.ShardSize != 0 || size > s.Serialization.ShardSize {
				return badf(RuleResources, "resources[%d].name: %.200q is no shard of %d bytes", i, r.Name, s.Serialization.ShardSize)
			}
		}
		if why := manifest.NameFault(file); why != "" && (file != "." || len(rs) != 1) {
			return badf(RuleResources, "resources[%d].name %.200q: %s", i, r.Name, why)
		}
		if seen[r.Name] {
			return badf(RuleResources, "resources[%d].name: %.200q is there twice", i, r.Name)
		}
		seen[r.Name] = true
		if !s.algorithm(r.Algorithm) {
			return badf(RuleResources, "resources[%d].algorithm is %.100q, and the serialization says %s", i, r.Algorithm, s.Serialization.Hash)
		}
		digest, err := parseHex(r.Digest, s.Serialization.Hash.Size())
		if err != nil {
			return badf(RuleResources, "resources[%d].digest: %w", i, err)
		}
		s.Resources = append(s.Resources, manifest.Resource{Name: r.Name, Digest: digest, Size: size})
	}
	return nil
}

var sharded = regexp.MustCompile(`^([a-z0-9]+)-sharded-([0-9]+)$`)

// algorithm accepts the hash, and the Python implementation's name for shards
// of it, such as sha256-sharded-1000000000.
func (s *Signature) algorithm(a string) bool {
	if a == string(s.Serialization.Hash) {
		return true
	}
	m := sharded.FindStringSubmatch(a)
	return m != nil && s.Serialization.Method == manifest.Shards &&
		m[1] == string(s.Serialization.Hash) && m[2] == strconv.FormatInt(s.Serialization.ShardSize, 10)
}

// parseHex reads lower-case hex of exactly n bytes.
func parseHex(s string, n int) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != n || strings.ToLower(s) != s {
		return nil, fmt.Errorf("%.200q is not %d bytes of lower-case hex", s, n)
	}
	return b, nil
}
