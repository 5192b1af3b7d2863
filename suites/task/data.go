package task

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/weighbridge/weighbridge/suites/internal/yml"
)

// record is one row of data with the line it begins on.
type record struct {
	file   string
	line   int
	fields map[string]any
}

func (r record) problem(format string, args ...any) *Problem {
	return &Problem{File: r.file, Line: r.line, Message: fmt.Sprintf(format, args...)}
}

// records reads the data that a task file names, in order.
func (r *reader) records(root *yml.Node) ([]record, error) {
	kind := root.Get("dataset_path")
	if kind == nil {
		return nil, root.Problem("the field dataset_path is missing; it is json or csv")
	}
	format, err := kind.Text()
	if err != nil {
		return nil, err
	}
	if format != "json" && format != "csv" {
		return nil, kind.Problem("dataset_path %q is not supported: nothing is downloaded; it is json or csv, with dataset_kwargs.data_files", format)
	}
	kw := root.Get("dataset_kwargs")
	files := kw.Get("data_files")
	if files == nil {
		return nil, kind.Problem("dataset_kwargs.data_files, the data beside this file, is missing")
	}
	for _, f := range kw.Fields {
		if f.Name != "data_files" {
			return nil, &Problem{File: root.File, Line: f.Line, Message: fmt.Sprintf("dataset_kwargs.%s is not supported; there is data_files", f.Name)}
		}
	}
	if files.Kind == yml.Map {
		if files, err = split(root, files); err != nil {
			return nil, err
		}
	}
	names, err := files.Texts()
	if err != nil {
		return nil, err
	}
	var all []record
	for _, name := range names {
		full := path.Join(path.Dir(root.File), name)
		if path.IsAbs(name) || !fs.ValidPath(full) {
			return nil, files.Problem("the data file %q must lie beside or below the task file", name)
		}
		b, err := readFile(r.fsys, full, MaxData)
		if err != nil {
			return nil, files.Problem("%v", err)
		}
		read := readJSON
		if format == "csv" {
			read = readCSV
		}
		rows, err := read(full, b)
		if err != nil {
			return nil, err
		}
		if all = append(all, rows...); len(all) > MaxItems {
			return nil, files.Problem("more than %d records", MaxItems)
		}
	}
	if len(all) == 0 {
		return nil, files.Problem("the data has no record")
	}
	return all, nil
}

// split picks the files of the split that is tested: test_split, else
// validation_split, else the only one.
func split(root, files *yml.Node) (*yml.Node, error) {
	for _, key := range []string{"test_split", "validation_split"} {
		if n := root.Get(key); n != nil && n.Scalar != nil {
			name, err := n.Text()
			if err != nil {
				return nil, err
			}
			if f := files.Get(name); f != nil {
				return f, nil
			}
			return nil, n.Problem("data_files has no split %q", name)
		}
	}
	if len(files.Fields) != 1 {
		return nil, files.Problem("data_files has %d splits; name the one to ask in test_split", len(files.Fields))
	}
	return files.Fields[0].Value, nil
}

// readJSON reads objects, one per line, or one array of them.
func readJSON(file string, data []byte) ([]record, error) {
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) > 0 && t[0] == '[' {
		return readArray(file, data)
	}
	var rows []record
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxRecord)
	line := 0
	for sc.Scan() {
		line++
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		rec := record{file: file, line: line}
		d := json.NewDecoder(bytes.NewReader(sc.Bytes()))
		d.UseNumber()
		if err := d.Decode(&rec.fields); err != nil {
			return nil, rec.problem("not a JSON object: %v", err)
		}
		if _, err := d.Token(); err != io.EOF {
			return nil, rec.problem("more than one JSON value on the line")
		}
		if rec.fields == nil {
			return nil, rec.problem("not a JSON object: null")
		}
		if rows = append(rows, rec); len(rows) > MaxItems {
			return nil, rec.problem("more than %d records", MaxItems)
		}
	}
	if err := sc.Err(); err != nil {
		return nil, &Problem{File: file, Line: line + 1, Message: fmt.Sprintf("the line has more than %d bytes: %v", maxRecord, err)}
	}
	return rows, nil
}

func readArray(file string, data []byte) ([]record, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	at := func() int { return 1 + bytes.Count(data[:d.InputOffset()], []byte("\n")) }
	bad := func(err error) error {
		return &Problem{File: file, Line: at(), Message: fmt.Sprintf("not an array of JSON objects: %v", err)}
	}
	if _, err := d.Token(); err != nil {
		return nil, bad(err)
	}
	var rows []record
	line, seen := 1, 0 // counted on from the last record, to stay linear
	for d.More() {
		end := int(d.InputOffset())
		for end < len(data) && strings.IndexByte(", \t\r\n", data[end]) >= 0 {
			end++
		}
		line += bytes.Count(data[seen:end], []byte("\n"))
		seen = end
		rec := record{file: file, line: line}
		if err := d.Decode(&rec.fields); err != nil {
			return nil, bad(err)
		}
		if rec.fields == nil {
			return nil, bad(errors.New("null"))
		}
		if rows = append(rows, rec); len(rows) > MaxItems {
			return nil, rec.problem("more than %d records", MaxItems)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, bad(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, bad(errors.New("something follows the array"))
	}
	return rows, nil
}

func readCSV(file string, data []byte) ([]record, error) {
	c := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	c.ReuseRecord = true
	bad := func(err error) error {
		p := &Problem{File: file, Message: "not CSV: " + err.Error()}
		var pe *csv.ParseError
		if errors.As(err, &pe) {
			p.Line, p.Message = pe.Line, "not CSV: "+pe.Err.Error()
		}
		return p
	}
	head, err := c.Read()
	if err == io.EOF {
		return nil, nil
	}
	if err != nil {
		return nil, bad(err)
	}
	names := append([]string(nil), head...)
	if seen := set(names...); len(seen) != len(names) {
		return nil, &Problem{File: file, Line: 1, Message: "two columns have the same name"}
	}
	var rows []record
	for {
		row, err := c.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, bad(err)
		}
		line, _ := c.FieldPos(0)
		rec := record{file: file, line: line, fields: make(map[string]any, len(names))}
		for i, n := range names {
			rec.fields[n] = strings.Clone(row[i])
		}
		if rows = append(rows, rec); len(rows) > MaxItems {
			return nil, rec.problem("more than %d records", MaxItems)
		}
	}
}

// readFile reads a text file of at most limit bytes.
func readFile(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err // names the file
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, &Problem{File: name, Message: fmt.Sprintf("the file has more than %d bytes", limit)}
	}
	if !utf8.Valid(b) {
		return nil, &Problem{File: name, Message: "the file is not UTF-8 text"}
	}
	return b, nil
}
