package provenance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weighbridge/weighbridge/supply/bundle"
)

// PredicateV02 is the provenance that cosign and older generators attest. It is
// read for what it says, never written.
const PredicateV02 = "https://slsa.dev/provenance/v0.2"

// Document is a provenance predicate. Empty fields were absent.
type Document struct {
	BuildType    string
	External     map[string]any // what the maker chose: recipe, hyper-parameters, seed
	Internal     map[string]any // what the builder chose
	Dependencies []Descriptor
	Builder      string // builder.id, a URI
	InvocationID string
	Started      time.Time // zero where not said
	Finished     time.Time
}

// Descriptor is a resource descriptor of in-toto v1, with weighbridge's
// annotations taken out.
type Descriptor struct {
	Name, URI string
	Digest    map[string]string // algorithm to lower-case hex
	Role      Role              // as annotated, else inferred from the URI, else Other
	Files     *int64
	Bytes     *int64
	// Dirty counts the files by which a working tree differed from the commit
	// in Digest; nil where the descriptor does not say.
	Dirty   *int64
	Changed []string // the first of those files
}

// Label is what the descriptor is called: its name, else its URI.
func (d *Descriptor) Label() string {
	if d.Name != "" {
		return d.Name
	}
	return d.URI
}

// Algorithms lists the digest's keys, sorted.
func (d *Descriptor) Algorithms() []string { return sortedKeys(d.Digest) }

func (d *Descriptor) String() string {
	for _, a := range []string{"sha256", "gitCommit"} {
		if h := d.Digest[a]; h != "" {
			return a + ":" + h
		}
	}
	for _, a := range d.Algorithms() {
		return a + ":" + d.Digest[a]
	}
	return ""
}

// Parse reads the predicate of a statement whose predicateType is one of SLSA
// provenance. Errors wrap ErrFormat.
func Parse(predicateType string, predicate []byte) (*Document, error) {
	v, err := decode(predicate)
	if err != nil {
		return nil, err
	}
	o, ok := v.(map[string]any)
	if !ok {
		return nil, badFormat("the predicate is %s, wanted an object", kindOf(v))
	}
	var r reader
	var d *Document
	switch predicateType {
	case bundle.PredicateProvenance:
		d = r.v1(o)
	case PredicateV02:
		d = r.v02(o)
	default:
		return nil, badFormat("predicateType is %.100q, wanted %q", predicateType, bundle.PredicateProvenance)
	}
	return d, r.err
}

func (r *reader) v1(o map[string]any) *Document {
	const def, run = "/buildDefinition", "/runDetails"
	b, rd := r.object(o, "", "buildDefinition"), r.object(o, "", "runDetails")
	m := r.object(rd, run, "metadata")
	return &Document{
		BuildType:    r.text(b, def, "buildType"),
		External:     r.object(b, def, "externalParameters"),
		Internal:     r.object(b, def, "internalParameters"),
		Dependencies: r.descriptors(r.array(b, def, "resolvedDependencies", maxDependencies), def+"/resolvedDependencies"),
		Builder:      r.text(r.object(rd, run, "builder"), run+"/builder", "id"),
		InvocationID: r.text(m, run+"/metadata", "invocationId"),
		Started:      r.time(m, run+"/metadata", "startedOn"),
		Finished:     r.time(m, run+"/metadata", "finishedOn"),
	}
}

func (r *reader) v02(o map[string]any) *Document {
	i, m := r.object(o, "", "invocation"), r.object(o, "", "metadata")
	return &Document{
		BuildType:    r.text(o, "", "buildType"),
		External:     r.object(i, "/invocation", "parameters"),
		Internal:     r.object(i, "/invocation", "environment"),
		Dependencies: r.descriptors(r.array(o, "", "materials", maxDependencies), "/materials"),
		Builder:      r.text(r.object(o, "", "builder"), "/builder", "id"),
		InvocationID: r.text(m, "/metadata", "buildInvocationId"),
		Started:      r.time(m, "/metadata", "buildStartedOn"),
		Finished:     r.time(m, "/metadata", "buildFinishedOn"),
	}
}

func (r *reader) time(o map[string]any, at, key string) time.Time {
	s := r.text(o, at, key)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		r.fail(at+"/"+key, "%.60q is no RFC 3339 time", s)
	}
	return t
}

func (r *reader) descriptors(list []any, at string) []Descriptor {
	out := make([]Descriptor, 0, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s/%d", at, i)
		o, ok := v.(map[string]any)
		if !ok {
			r.fail(at, "%s, wanted an object", kindOf(v))
			return nil
		}
		d := Descriptor{Name: r.text(o, at, "name"), URI: r.text(o, at, "uri"), Digest: r.digests(o, at)}
		a, aat := r.object(o, at, "annotations"), at+"/annotations"
		d.Role = Role(r.text(a, aat, AnnotationRole))
		if d.Role != "" && !slices.Contains(Roles, d.Role) {
			r.fail(aat+"/"+AnnotationRole, "%.60q is none of %q", d.Role, Roles)
		}
		if d.Role == "" {
			d.Role = inferred(d.URI)
		}
		d.Files, d.Bytes, d.Dirty = r.count(a, aat, AnnotationFiles), r.count(a, aat, AnnotationBytes), r.count(a, aat, AnnotationDirty)
		for _, c := range r.array(a, aat, AnnotationChanged, maxChanged) {
			if s, ok := c.(string); ok {
				d.Changed = append(d.Changed, s)
			}
		}
		out = append(out, d)
	}
	return out
}

// hexLength is how many hex digits the digest of an algorithm has. Keys that
// are not here may hold anything that is short.
var hexLength = map[string][]int{
	"sha256": {64}, "sha512": {128}, "sha384": {96}, "sha1": {40}, "blake2b": {128}, "blake3": {64},
	"gitCommit": {40, 64}, "gitTree": {40, 64}, "gitBlob": {40, 64}, IdentityKey: {64},
}

func (r *reader) digests(o map[string]any, at string) map[string]string {
	at += "/digest"
	d := r.object(o, strings.TrimSuffix(at, "/digest"), "digest")
	if len(d) > maxDigests {
		r.fail(at, "%d digests, more than %d", len(d), maxDigests)
		return nil
	}
	out := map[string]string{}
	for _, alg := range sortedKeys(d) {
		hex := r.text(d, at, alg)
		if err := checkDigest(alg, hex); err != nil {
			r.fail(at+"/"+alg, "%w", err)
		}
		out[alg] = hex
	}
	return out
}

func checkDigest(alg, hex string) error {
	want, known := hexLength[alg]
	switch {
	case alg == "" || len(alg) > 64 || hex == "" || len(hex) > 512:
		return fmt.Errorf("%.60q is no digest of %.60q", hex, alg)
	case !known:
		return nil
	case !slices.Contains(want, len(hex)) || strings.Trim(hex, "0123456789abcdef") != "":
		return fmt.Errorf("%.140q is no digest of %s, which has %d lower-case hex digits", hex, alg, want[0])
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
