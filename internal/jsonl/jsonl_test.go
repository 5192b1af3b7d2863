package jsonl

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"
)

type row struct {
	ID string `json:"id"`
}

func TestEach(t *testing.T) {
	stop := errors.New("stop")
	for name, tc := range map[string]struct {
		in, want string
		line     int // of the error, 0 for none
		is       error
	}{
		"two, and an empty line": {"{\"id\":\"a\"}\n\n  {\"id\":\"b\"}", "1a 3b ", 0, nil},
		"nothing":                {"", "", 0, nil},
		"unknown field":          {"{\"id\":\"a\"}\n{\"name\":\"b\"}\n", "1a ", 2, nil},
		"two values":             {`{"id":"a"} {"id":"b"}`, "", 1, nil},
		"no JSON":                {"id: a", "", 1, nil},
		"not UTF-8":              {"{\"id\":\"\xff\"}", "", 1, nil},
		"too long":               {"{\"id\":\"a\"}\n{\"id\":\"" + strings.Repeat("b", 99) + "\"}", "1a ", 2, bufio.ErrTooLong},
		"the caller ends it":     {"{\"id\":\"a\"}\n{\"id\":\"stop\"}\n{\"id\":\"c\"}", "1a ", 0, stop},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			err := Each(strings.NewReader(tc.in), 64, func(line int, r *row) error {
				if r.ID == "stop" {
					return stop
				}
				got += fmt.Sprintf("%d%s ", line, r.ID)
				return nil
			})
			bad := (*Error)(nil)
			if got != tc.want || errors.As(err, &bad) != (tc.line > 0) || bad != nil && bad.Line != tc.line || tc.is != nil && !errors.Is(err, tc.is) || err != nil && tc.line == 0 && tc.is == nil {
				t.Errorf("read %q, error %v; want %q, line %d, %v", got, err, tc.want, tc.line, tc.is)
			}
		})
	}
}

func FuzzEach(f *testing.F) {
	for _, s := range []string{"", "{\"id\":\"a\"}\n", "{\"id\":1}", "null\n[]", "{}{}", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lines := strings.Count(s, "\n") + 1
		last := 0
		err := Each(strings.NewReader(s), 1<<12, func(line int, _ *row) error {
			if line <= last || line > lines {
				t.Fatalf("line %d after %d, of %d", line, last, lines)
			}
			last = line
			return nil
		})
		if bad := (*Error)(nil); errors.As(err, &bad) && (bad.Line <= last || bad.Line > lines+1) {
			t.Fatalf("error on line %d after %d, of %d", bad.Line, last, lines)
		}
	})
}
