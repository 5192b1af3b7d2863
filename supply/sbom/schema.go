package sbom

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

//go:embed schema/*.json
var schemas embed.FS

const schemaBase = "http://cyclonedx.org/schema/"

// Versions are the versions of CycloneDX that are read. Version is written.
var Versions = []string{"1.5", "1.6", "1.7"}

// Version is the version of CycloneDX that Make writes.
const Version = "1.6"

const spdxAdvice = "it is an SPDX document, which is not read; convert it to CycloneDX, for SPDX 2 with `cyclonedx convert --input-format spdxjson --output-format json`, " +
	"or make a new BOM with `weighbridge sbom DIR`"

// compiled holds the schema of each version, compiled when it is first needed.
var compiled = func() map[string]func() *jsonschema.Schema {
	out := map[string]func() *jsonschema.Schema{}
	for _, v := range Versions {
		out[v] = sync.OnceValue(func() *jsonschema.Schema { return compile(v) })
	}
	return out
}()

// compile panics on error: the schemas are part of the program.
func compile(version string) *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	name := "bom-" + version + ".schema.json"
	for _, file := range []string{name, "spdx.schema.json", "jsf-0.82.schema.json", "cryptography-defs.schema.json"} {
		src, err := schemas.ReadFile("schema/" + file)
		if err != nil {
			panic(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(src))
		if err != nil {
			panic(fmt.Sprintf("sbom: %s: %v", file, err))
		}
		if err := c.AddResource(schemaBase+file, doc); err != nil {
			panic(fmt.Sprintf("sbom: %s: %v", file, err))
		}
	}
	return c.MustCompile(schemaBase + name)
}

// Validate holds src against the official JSON schema of the version that it
// names. Every error is an *Invalid and matches ErrBOM.
func Validate(src []byte) error {
	_, err := validated(src)
	return err
}

// validated gives the parsed document.
func validated(src []byte) (map[string]any, error) {
	v, err := parse(src)
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, &Invalid{"", "expected an object"}
	}
	for _, key := range []string{"spdxVersion", "SPDXID", "@context"} {
		if _, ok := doc[key]; ok {
			return nil, &Invalid{"/" + key, spdxAdvice}
		}
	}
	if f, _ := doc["bomFormat"].(string); f != "CycloneDX" {
		return nil, &Invalid{"/bomFormat", `expected "CycloneDX"`}
	}
	version, _ := doc["specVersion"].(string)
	schema, ok := compiled[version]
	if !ok {
		return nil, &Invalid{"/specVersion", fmt.Sprintf("%s is not read; expected one of %s (`cyclonedx convert` changes versions)", shown(version), strings.Join(Versions, ", "))}
	}
	if err := schema().Validate(v); err != nil {
		return nil, explain(err)
	}
	return doc, nil
}

var english = message.NewPrinter(language.English)

// explain picks the one failure that says most: the deepest place, for there
// the choice between a schema's alternatives has been made; the first of those.
func explain(err error) error {
	verr, ok := err.(*jsonschema.ValidationError)
	if !ok {
		return &Invalid{"", plain(err.Error(), maxShown)}
	}
	best := verr
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			if len(best.Causes) > 0 || deeper(e, best) {
				best = e
			}
			return
		}
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(verr)
	return &Invalid{pointer(best.InstanceLocation), expectation(best)}
}

// deeper orders failures so that the choice does not hang on the order in
// which a validator walks a map.
func deeper(a, b *jsonschema.ValidationError) bool {
	if x, y := len(a.InstanceLocation), len(b.InstanceLocation); x != y {
		return x > y
	}
	if c := slices.Compare(a.InstanceLocation, b.InstanceLocation); c != 0 {
		return c < 0
	}
	return expectation(a) < expectation(b)
}

func expectation(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		missing := slices.Sorted(slices.Values(k.Missing))
		return "expected the properties " + strings.Join(missing, ", ")
	case *kind.AdditionalProperties:
		var names []string
		for _, p := range k.Properties {
			names = append(names, shown(p))
		}
		slices.Sort(names)
		return plain("unknown properties "+strings.Join(names, ", "), 400)
	case *kind.Enum:
		got := shown(fmt.Sprint(k.Got))
		if len(k.Want) > 20 {
			return fmt.Sprintf("%s is not one of the %d values that the schema lists", got, len(k.Want))
		}
		return fmt.Sprintf("%s is not one of %s", got, plain(strings.Trim(fmt.Sprint(k.Want), "[]"), 400))
	case *kind.Pattern:
		return fmt.Sprintf("%s does not match %s", shown(k.Got), plain(k.Want, maxShown))
	case *kind.Format:
		return fmt.Sprintf("%s is not a valid %s", shown(fmt.Sprint(k.Got)), k.Want)
	}
	return plain(e.ErrorKind.LocalizedString(english), 400)
}

// ValidateFile is Validate of a file, which is named in the error.
func ValidateFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if err := Validate(src); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
