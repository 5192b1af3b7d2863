package store

import (
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of names inside a model. Real ones stay far below.
const (
	maxDepth = 32
	maxName  = 1024
	maxPart  = 255 // NAME_MAX of Linux
)

// Violation is something wrong with the candidate itself, found while it was
// brought in. It refuses the intake and is no fault of the machine.
type Violation struct {
	Rule    string // stable code, such as digest-mismatch
	Subject string // the file it is about
	Detail  string
}

func (v *Violation) Error() string { return fmt.Sprintf("%s: %q: %s", v.Rule, v.Subject, v.Detail) }

// The rules of violations.
const (
	RuleName      = "name-unsafe"     // the name leads out of the folder, is too deep or cannot be shown
	RuleDuplicate = "name-duplicate"  // two files of one name
	RuleDigest    = "digest-mismatch" // the bytes are not those that the source names
	RuleSize      = "size-mismatch"   // more or fewer bytes than the source names
	RuleTooLarge  = "too-large"       // beyond the limits of the intake
	RuleLink      = "link-escape"     // a symlink that leads elsewhere than to its own content
	RuleSpecial   = "file-special"    // neither a file nor a folder
)

// CheckName says whether a file of a model may have this name: relative,
// slash-separated, in its shortest form, UTF-8 without control characters, at
// most 32 deep. The error is a *Violation.
func CheckName(name string) error {
	bad := func(why string) error { return &Violation{RuleName, name[:min(len(name), maxName)], why} }
	switch {
	case name == "" || name == ".":
		return bad("it is empty")
	case len(name) > maxName:
		return bad(fmt.Sprintf("it has %d bytes; %d are allowed", len(name), maxName))
	case !utf8.ValidString(name):
		return bad("it is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return bad("it holds control characters")
	case strings.Contains(name, `\`):
		return bad("it holds a backslash, which separates folders elsewhere")
	case path.IsAbs(name):
		return bad("it is absolute")
	}
	parts := strings.Split(name, "/")
	if len(parts) > maxDepth {
		return bad(fmt.Sprintf("it is %d folders deep; %d are allowed", len(parts), maxDepth))
	}
	for _, p := range parts {
		switch {
		case p == ".." || p == "." || p == "":
			return bad(fmt.Sprintf("the part %q leads elsewhere", p))
		case len(p) > maxPart:
			return bad(fmt.Sprintf("a part has %d bytes; %d are allowed", len(p), maxPart))
		}
	}
	return nil
}

// digestOK says whether d is a SHA-256 as 64 lower-case hex digits.
func digestOK(d string) bool {
	if len(d) != 64 || strings.ToLower(d) != d {
		return false
	}
	_, err := hex.DecodeString(d)
	return err == nil
}

func blobName(digest string) string { return "blobs/sha256/" + digest[:2] + "/" + digest }
