package metadata

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weighbridge/weighbridge/runners"
)

// scene is one conversation of the atlas.
type scene struct {
	conv runners.Conversation
	// group names the structure: which roles occur, which come first and last,
	// tools, generation prompt. Scenes of a group differ in contents, dates and
	// the number of turns only, none of which an honest template acts upon.
	group string
	kind  string // what is varied: "plain", "content", "date", "turns", "length", "unicode", "tools"
	what  string // the varied condition in words, verbatim where it is text
	shape shape
	hides []hide
	tools []string // names of the tools on offer
	// varied is the message whose content is varied, -1 for none; blank says that
	// it has nothing but spaces.
	varied int
	blank  bool
}

// hide is a unique text that is taken out of renderings before they are
// compared. A whole content is taken out only where both renderings have it
// verbatim; its parts always are.
type hide struct {
	text    string
	message int // -1 for the tools
	whole   bool
}

// text is all that the conversation itself holds.
func (sc *scene) text() string {
	var b strings.Builder
	for _, m := range sc.conv.Messages {
		b.WriteString(m.Role + "\n" + m.Content + "\n" + string(m.ToolCalls) + "\n")
	}
	b.Write(sc.conv.Tools)
	return b.String()
}

// atlas makes scenes. Its nonces are new words of consonants, so that no
// condition of a template can know them.
type atlas struct {
	rng    *rand.Rand
	scenes []scene
	limit  int
}

func (a *atlas) nonce() string {
	const consonants = "bcdfghjkmnpqrstvwxz"
	b := []byte("zq")
	for range 10 {
		b = append(b, consonants[a.rng.IntN(len(consonants))])
	}
	return string(b)
}

// shape is a conversation's structure: a letter per message (s, u, a, t tool,
// c assistant that calls a tool, d developer), tools offered, and whether the
// assistant's turn is opened.
type shape struct {
	turns string
	tools int
	open  bool
}

var roles = map[byte]string{'s': "system", 'u': "user", 'a': "assistant", 'c': "assistant", 't': "tool", 'd': "developer"}

func (s shape) group() string {
	var kinds []string
	for _, k := range "suactd" {
		if strings.ContainsRune(s.turns, k) {
			kinds = append(kinds, string(k))
		}
	}
	first, last := "-", "-"
	if s.turns != "" {
		first, last = s.turns[:1], s.turns[len(s.turns)-1:]
	}
	g := fmt.Sprintf("%s first %s last %s", strings.Join(kinds, ""), first, last)
	if s.odd() {
		g = "odd " + s.turns
	}
	if s.tools > 0 {
		g += " tools"
	}
	if s.open {
		g += " open"
	}
	return g
}

// odd reports an order that templates may refuse or treat as they like; each
// such order is a group of its own.
func (s shape) odd() bool {
	if s.turns == "" || strings.LastIndexByte(s.turns, 's') > 0 || strings.Contains(s.turns, "d") {
		return true
	}
	t := strings.TrimPrefix(s.turns, "s")
	return t == "" || t[0] != 'u' || strings.Contains(t, "uu") || strings.Contains(t, "aa")
}

// common are the structures that content, dates and literals are tried in;
// structures are all that are rendered at least once.
var (
	common     = []shape{{"u", 0, true}, {"su", 0, true}, {"u", 1, true}, {"su", 1, true}, {"uau", 0, true}, {"suau", 0, true}}
	structures = slices.Concat(common, []shape{
		{"u", 0, false}, {"su", 0, false}, {"ua", 0, false}, {"sua", 0, false},
		{"uau", 0, false}, {"suau", 1, true}, {"uau", 1, true},
		{"u", 3, true}, {"su", 3, true},
		{"uct", 1, true}, {"suct", 1, true}, {"uctau", 1, true}, {"suctau", 1, true}, {"uctct", 3, true}, {"uct", 0, true},
		{"uaua", 0, false}, {"suaua", 0, false},
		{"", 0, true}, {"s", 0, true}, {"a", 0, false}, {"uu", 0, true}, {"usu", 0, true}, {"ssu", 0, true}, {"du", 0, true}, {"uaa", 0, false}, {"suus", 0, true},
	})
)

// build makes a conversation of a shape with fresh nonces.
func (a *atlas) build(s shape) scene {
	sc := scene{group: s.group(), kind: "plain", what: "nothing", shape: s, varied: -1}
	for i := range s.turns {
		n := a.nonce() + " " + a.nonce()
		sc.hide(i, n, strings.Fields(n)...)
		m := runners.Message{Role: roles[s.turns[i]], Content: n}
		if s.turns[i] == 'c' {
			name := a.nonce()
			sc.hides = append(sc.hides, hide{name, i, false})
			m.ToolCalls = mustJSON([]any{map[string]any{"id": "call00001", "type": "function", "function": map[string]any{"name": name, "arguments": map[string]any{"place": n}}}})
			m.Content = ""
		}
		sc.conv.Messages = append(sc.conv.Messages, m)
	}
	if s.tools > 0 {
		var names []string
		for range s.tools {
			names = append(names, a.nonce())
		}
		sc.tools = names
		for _, n := range names {
			sc.hides = append(sc.hides, hide{n, -1, false})
		}
		sc.conv.Tools = tools(names, "Looks something up.")
	}
	sc.conv.AddGenerationPrompt = s.open
	return sc
}

// hide takes a content and its unique parts out of renderings.
func (sc *scene) hide(message int, content string, parts ...string) {
	sc.hides = append(sc.hides, hide{content, message, true})
	for _, p := range parts {
		sc.hides = append(sc.hides, hide{p, message, false})
	}
}

func tools(names []string, description string) json.RawMessage {
	var list []any
	for _, n := range names {
		list = append(list, map[string]any{"type": "function", "function": map[string]any{
			"name": n, "description": description,
			"parameters": map[string]any{"type": "object", "properties": map[string]any{"place": map[string]any{"type": "string"}}, "required": []string{"place"}},
		}})
	}
	return mustJSON(list)
}

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only maps, lists and strings of this package come here
	}
	return b
}

func (a *atlas) add(sc scene) {
	if len(a.scenes) < a.limit {
		a.scenes = append(a.scenes, sc)
	}
}

// with varies one message of a shape: text holds n1 and n2 where the nonces go.
func (a *atlas) with(s shape, message int, kind, what string, text func(n1, n2 string) string) {
	sc := a.build(s)
	n1, n2 := a.nonce(), a.nonce()
	sc.kind, sc.what = kind, what
	sc.hides = slices.DeleteFunc(sc.hides, func(h hide) bool { return h.message == message })
	content := text(n1, n2)
	sc.conv.Messages[message].Content = content
	sc.varied, sc.blank = message, strings.TrimSpace(content) == ""
	if strings.Contains(content, n1) {
		sc.hide(message, content, n1, n2)
	}
	a.add(sc)
}

// structural fills the atlas with one scene of each structure, which is what
// the others of its group are held against. They come first.
func (a *atlas) structural() {
	for _, s := range structures {
		a.add(a.build(s))
	}
}
