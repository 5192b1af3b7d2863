package probes

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadCanaries(t *testing.T) {
	src := `{"id":"a","prefix":"The code of Ann is","secret":" 1234","repeats":16}

{"id":"b","prefix":"p","secret":"s","held_out":true,"references":["t","u"]}
`
	got, digest, err := ReadCanaries("c.jsonl", strings.NewReader(src))
	if err != nil {
		t.Fatal(err)
	}
	want := []Canary{
		{ID: "a", Prefix: "The code of Ann is", Secret: " 1234"},
		{ID: "b", Prefix: "p", Secret: "s", HeldOut: true, References: []string{"t", "u"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if !strings.HasPrefix(digest, "sha256:") {
		t.Errorf("digest %q", digest)
	}
}

func TestReadCanariesNamesTheLine(t *testing.T) {
	ok := `{"id":"a","prefix":"p","secret":"s"}` + "\n"
	for name, tc := range map[string]struct{ src, want string }{
		"empty":         {"", "no canary"},
		"not JSON":      {ok + "nonsense\n", "c.jsonl:2"},
		"unknown field": {ok + `{"id":"b","prefx":"p","secret":"s"}`, "c.jsonl:2: json: unknown field \"prefx\""},
		"duplicate":     {ok + ok, "stands already on line 1"},
		"no secret":     {`{"id":"b","prefix":"p"}`, "`secret` is empty"},
		"no prefix":     {`{"id":"b","secret":"p"}`, "`prefix` is empty"},
		"two values":    {`{"id":"b","prefix":"p","secret":"s"} {}`, "more than one"},
		"not UTF-8":     {"{\"id\":\"b\",\"prefix\":\"p\",\"secret\":\"\xff\"}", "not UTF-8"},
		"endless line":  {ok + strings.Repeat("x", maxCanaryLine+1), "c.jsonl:2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := ReadCanaries("c.jsonl", strings.NewReader(tc.src))
			if !errors.Is(err, ErrCanaries) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzReadCanaries(f *testing.F) {
	f.Add(`{"id":"a","prefix":"p","secret":"s"}`)
	f.Fuzz(func(t *testing.T, src string) {
		cs, _, err := ReadCanaries("c", strings.NewReader(src))
		if err != nil && !errors.Is(err, ErrCanaries) {
			t.Fatalf("%v is no ErrCanaries", err)
		}
		if err == nil && len(cs) == 0 {
			t.Fatal("no canaries and no error")
		}
	})
}
