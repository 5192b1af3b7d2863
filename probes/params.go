package probes

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Params are a probe's settings from a suite, as canonical JSON so that a plan
// can be digested. Empty means all defaults.
type Params json.RawMessage

// Decode fills dst, whose fields hold the defaults. A field that dst does not
// have is an error, so that a misspelt setting is never ignored.
func (p Params) Decode(dst any) error {
	if len(p) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(dst); err != nil {
		return fmt.Errorf("probe parameters %s: %w", p, err)
	}
	return nil
}
