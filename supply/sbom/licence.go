package sbom

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// spdx maps SPDX identifiers, and exceptions, in lower case to their proper
// spelling: identifiers are compared without regard to case (SPDX 2.3, annex
// D.2).
var spdx = sync.OnceValue(func() map[string]string {
	src, err := schemas.ReadFile("schema/spdx.schema.json")
	var list struct {
		Enum []string `json:"enum"`
	}
	if err == nil {
		err = json.Unmarshal(src, &list)
	}
	if err != nil {
		panic(fmt.Sprintf("sbom: spdx.schema.json: %v", err)) // part of the program
	}
	out := make(map[string]string, len(list.Enum))
	for _, id := range list.Enum {
		out[strings.ToLower(id)] = id
	}
	return out
})

// expression gives s in proper spelling where it is an SPDX licence expression
// of more than one word, all of whose identifiers are known.
func expression(s string) (string, bool) {
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
	if len(words) < 3 || len(words) > 100 {
		return "", false
	}
	depth, operand := 0, true // whether an operand comes next
	var out []string
	for _, w := range words {
		switch up := strings.ToUpper(w); {
		case w == "(" && operand:
			depth++
		case w == ")" && !operand && depth > 0:
			depth--
		case !operand && (up == "AND" || up == "OR" || up == "WITH"):
			w, operand = up, true
		case operand:
			id, ok := spdx()[strings.ToLower(strings.TrimSuffix(w, "+"))]
			switch {
			case ok && strings.HasSuffix(w, "+"):
				w = id + "+"
			case ok:
				w = id
			case !strings.HasPrefix(w, "LicenseRef-"):
				return "", false
			}
			operand = false
		default:
			return "", false
		}
		out = append(out, w)
	}
	s = strings.NewReplacer("( ", "(", " )", ")").Replace(strings.Join(out, " "))
	return s, !operand && depth == 0
}

// licenceChoices renders licences for CycloneDX: one expression, or a list of
// identifiers and names; the two cannot be mixed.
func licenceChoices(texts []string) *cdx.Licenses {
	if len(texts) == 0 {
		return nil
	}
	if len(texts) == 1 {
		if e, ok := expression(texts[0]); ok {
			return &cdx.Licenses{{Expression: e}}
		}
	}
	var out cdx.Licenses
	for _, t := range texts {
		l := &cdx.License{Acknowledgement: cdx.LicenseAcknowledgementDeclared}
		if id, ok := spdx()[strings.ToLower(t)]; ok {
			l.ID = id
		} else {
			l.Name = t
		}
		out = append(out, cdx.LicenseChoice{License: l})
	}
	return &out
}
