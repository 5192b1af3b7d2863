package provenance

import "strings"

// Kind is what was done to make the weights: the last but one element of a
// build type's URI.
type Kind string

// The kinds. docs/provenance.md defines the parameters of each.
const (
	Training     Kind = "training"     // from random weights
	FineTune     Kind = "fine-tune"    // all or some weights of a base model trained on
	Adapter      Kind = "adapter"      // a LoRA for a base model
	Conversion   Kind = "conversion"   // another container or float type, same values up to rounding
	Quantisation Kind = "quantisation" // a base model in a block format
	Merge        Kind = "merge"        // an adapter, or other models, added into a base model
)

// Kinds lists the kinds in the order of the documentation.
var Kinds = []Kind{Training, FineTune, Adapter, Conversion, Quantisation, Merge}

const buildTypePrefix, buildTypeSuffix = "https://weighbridge.dev/buildtypes/", "/v1"

// BuildType is the kind's URI.
func (k Kind) BuildType() string { return buildTypePrefix + string(k) + buildTypeSuffix }

// KindOf is the kind of a build type; ok is false for those of others.
func KindOf(buildType string) (k Kind, ok bool) {
	name, a := strings.CutPrefix(buildType, buildTypePrefix)
	name, b := strings.CutSuffix(name, buildTypeSuffix)
	k = Kind(name)
	return k, a && b && required[k] != nil
}

// Role is what a resolved dependency was used for.
type Role string

// The roles of dependencies.
const (
	BaseModel   Role = "base-model"
	AdapterRole Role = "adapter" // a LoRA that was merged
	Dataset     Role = "dataset"
	Code        Role = "code"
	Environment Role = "environment" // an image, or a file that locks packages
	RecipeRole  Role = "recipe"
	Other       Role = "dependency" // nobody said
	builderRole Role = "builder"    // of links only
)

// Roles lists what a dependency can be said to be.
var Roles = []Role{BaseModel, AdapterRole, Dataset, Code, Environment, RecipeRole}

// required are the roles without which a kind of build does not say where its
// weights come from.
var required = map[Kind][]Role{
	Training:     {Dataset, Code, Environment},
	FineTune:     {BaseModel, Dataset, Code, Environment},
	Adapter:      {BaseModel, Dataset, Code, Environment},
	Conversion:   {BaseModel, Code},
	Quantisation: {BaseModel, Code},
	Merge:        {BaseModel, Code},
}

// Requires lists the roles that the kind has to name.
func (k Kind) Requires() []Role { return required[k] }

// Annotations of resolved dependencies that weighbridge writes and reads.
const (
	AnnotationRole  = "weighbridge.dev/role"
	AnnotationFiles = "weighbridge.dev/files"
	AnnotationBytes = "weighbridge.dev/bytes"
	// AnnotationDirty counts the files by which a working tree differed from
	// its commit.
	AnnotationDirty = "weighbridge.dev/dirty"
	// AnnotationChanged names the first of them.
	AnnotationChanged = "weighbridge.dev/changed"
)

// IdentityKey is the digest key of weighbridge identities; see package weights.
const IdentityKey = "weighbridgeIdentity"

// inferred guesses the role of a dependency that others wrote.
func inferred(uri string) Role {
	for _, x := range []struct {
		prefix string
		role   Role
	}{
		{"git+", Code}, {"pkg:github/", Code}, {"pkg:gitlab/", Code}, {"pkg:bitbucket/", Code},
		{"oci://", Environment}, {"docker://", Environment}, {"pkg:docker/", Environment}, {"pkg:oci/", Environment},
		{"pkg:huggingface/datasets/", Dataset}, {"https://huggingface.co/datasets/", Dataset},
		{"pkg:huggingface/", BaseModel},
	} {
		if strings.HasPrefix(uri, x.prefix) {
			return x.role
		}
	}
	return Other
}
