package sbom

import (
	"path"
	"slices"
	"strings"
)

// Role says what a file of a model folder is for, by its name.
type Role string

// The roles.
const (
	RoleWeights   Role = "weights"
	RoleAdapter   Role = "adapter"     // weights that change another model's
	RoleTokenizer Role = "tokenizer"   // how text becomes tokens, chat templates among it
	RoleConfig    Role = "config"      // parameters of the model or of its loader
	RoleCode      Role = "custom-code" // runs when the model is loaded
	RoleLoader    Role = "loader"      // the library that loads the model
	RoleDocument  Role = "document"    // for people
)

var (
	codeSuffixes     = []string{".py", ".pyc", ".pyx", ".so", ".dylib", ".dll", ".exe", ".sh", ".bat", ".ps1", ".js", ".mjs", ".wasm", ".cu", ".cpp", ".c", ".cc", ".h", ".go", ".rs", ".ipynb", ".whl", ".jar"}
	documentSuffixes = []string{".md", ".txt", ".rst", ".html", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".csv"}
	configSuffixes   = []string{".json", ".jsonl", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".lock"}
	documentNames    = []string{"license", "licence", "notice", "copying", "readme", "authors", "changelog", "use_policy", "citation"}
	tokenizerNames   = []string{"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.json", "chat_template.jinja", "spiece.model", "sentencepiece.bpe.model"}
	adapterNames     = []string{"adapter_model.safetensors", "adapter_model.bin"}
)

// RoleOf tells a file's role. What is not known to be something else is
// weights: an unknown name must not make a file escape the checks.
func RoleOf(name string) Role {
	base := strings.ToLower(path.Base(name))
	ext := path.Ext(base)
	switch {
	case slices.Contains(adapterNames, base):
		return RoleAdapter
	case slices.Contains(tokenizerNames, base) || ext == ".jinja" || ext == ".tiktoken":
		return RoleTokenizer
	case slices.Contains(codeSuffixes, ext):
		return RoleCode
	case slices.Contains(configSuffixes, ext), base == "modelfile":
		return RoleConfig
	case slices.Contains(documentSuffixes, ext), slices.Contains(documentNames, strings.TrimSuffix(base, ext)):
		return RoleDocument
	}
	return RoleWeights
}

// weighty are the roles whose files a BOM has to list: they make the model's
// behaviour by themselves.
func (r Role) weighty() bool { return r == RoleWeights || r == RoleAdapter }
