// Command report measures the report file: a million items written and read
// back, beside what the same items cost as JSON and what the Parquet library
// alone takes for their longest column.
//
// Each measurement runs in a process of its own, so that its peak memory is its
// own. Figures are ratios of medians taken in one run. Where two programs are
// compared, CPU time is, because it suffers least from what else the machine
// does; aims are for the time that a user waits.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/weighbridge/weighbridge/record"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/reports/reportstest"
)

// steps are what is measured, each on the files in a folder.
var steps = []struct {
	name string
	run  func(dir string, n int) error
}{
	{"write report", writeReport},
	{"write json", writeJSON},
	{"write column", writeColumn},
	{"read report", readReport},
	{"read json", readJSON},
	{"render html", renderHTML},
}

// measured is what a child process prints.
type measured struct {
	Wall, CPU float64 // seconds
	PeakMB    float64
}

func main() {
	n := flag.Int("n", 1_000_000, "items")
	rounds := flag.Int("rounds", 3, "runs of each step; medians are compared")
	step := flag.Int("step", -1, "run this step only (used by the program itself)")
	dir := flag.String("dir", "", "folder of the step")
	flag.Parse()
	if err := run(*n, *rounds, *step, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench/report:", err)
		os.Exit(1)
	}
}

func run(n, rounds, step int, dir string) error {
	if step >= 0 {
		makePool()
		start, before := time.Now(), usage()
		if err := steps[step].run(dir, n); err != nil {
			return err
		}
		after := usage()
		cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		return json.NewEncoder(os.Stdout).Encode(measured{Wall: time.Since(start).Seconds(),
			CPU: time.Duration(cpu).Seconds(), PeakMB: float64(after.Maxrss) * 1024 / 1e6})
	}
	dir, err := os.MkdirTemp("", "bench-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	results := make([][]measured, len(steps))
	// Rounds go around all steps, so that a slow spell of the machine meets each.
	for range rounds {
		for i := range steps {
			m, err := child(i, n, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", steps[i].name, err)
			}
			results[i] = append(results[i], m)
		}
	}
	return show(results, n, dir)
}

func child(step, n int, dir string) (m measured, err error) {
	cmd := exec.Command(os.Args[0], "-n", strconv.Itoa(n), "-step", strconv.Itoa(step), "-dir", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(out, &m)
}

func show(results [][]measured, n int, dir string) error {
	wall, cpu, memory := map[string]float64{}, map[string]float64{}, map[string]float64{}
	for i, s := range steps {
		wall[s.name] = median(results[i], func(m measured) float64 { return m.Wall })
		cpu[s.name] = median(results[i], func(m measured) float64 { return m.CPU })
		for _, m := range results[i] {
			memory[s.name] = max(memory[s.name], m.PeakMB)
		}
	}
	size := func(name string) float64 {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return 0
		}
		return float64(st.Size()) / 1e6
	}
	fmt.Printf("%d items, medians of %d rounds\n", n, len(results[0]))
	for _, s := range []string{"write report", "write json", "write column", "read report", "read json", "render html"} {
		fmt.Printf("  %-13s %6.2f s   CPU %6.2f s   peak %4.0f MB\n", s, wall[s], cpu[s], memory[s])
	}
	ratio := func(what string, a, b float64, note string) {
		fmt.Printf("  %-60s %5.2f   %s\n", what, a/b, note)
	}
	ratio("CPU: write report / write the same items as JSON", cpu["write report"], cpu["write json"], "")
	ratio("CPU: write report / parquet-go writing the prompts alone", cpu["write report"], cpu["write column"], "")
	ratio("CPU: read report / read the JSON", cpu["read report"], cpu["read json"], "")
	ratio("size of report / size of JSON", size("report.parquet"), size("items.jsonl"), "")
	const aim = "aim: at most 1 at 1,000,000 items"
	ratio("write report / 5 s", wall["write report"], 5, aim)
	ratio("read report / 2 s", wall["read report"], 2, aim)
	ratio("peak memory / 400 MB", max(memory["write report"], memory["read report"]), 400, aim)
	ratio("HTML page / 3 MB", size("report.html"), 3, "aim: at most 1 at 100,000 items")
	return nil
}

func median(ms []measured, of func(measured) float64) float64 {
	var all []float64
	for _, m := range ms {
		all = append(all, of(m))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func usage() (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // cannot fail with these arguments
	}
	return u
}

// pool is what items are taken from, again and again: making a million of them
// costs more than writing them. Its texts do not repeat inside a page.
var pool []record.Item

func makePool() {
	r := rand.New(rand.NewPCG(1, 1))
	for it := range reportstest.Stream(20_000) {
		word := strconv.FormatUint(r.Uint64(), 36)
		it.Prompt, it.Baseline, it.Candidate = it.Prompt+word, it.Baseline+word, it.Candidate+word
		pool = append(pool, it)
	}
}

func stream(n int) iter.Seq2[record.Item, error] {
	return func(yield func(record.Item, error) bool) {
		for i := range n {
			if !yield(pool[i%len(pool)], nil) {
				return
			}
		}
	}
}

func writeReport(dir string, n int) error {
	run, _ := reportstest.Reject()
	return reports.Create(filepath.Join(dir, "report.parquet"), run, stream(n))
}

func writeJSON(dir string, n int) error {
	return writeTo(filepath.Join(dir, "items.jsonl"), func(w io.Writer) error {
		e := json.NewEncoder(w)
		for it := range stream(n) {
			if err := e.Encode(it); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeColumn gives the library its best case: one column, in large batches.
func writeColumn(dir string, n int) error {
	type row struct {
		Prompt string `parquet:"prompt"`
	}
	return writeTo(filepath.Join(dir, "column.parquet"), func(w io.Writer) error {
		pw := parquet.NewGenericWriter[row](w, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
			parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain))
		batch := make([]row, 0, 1<<10)
		for it := range stream(n) {
			if batch = append(batch, row{it.Prompt}); len(batch) == cap(batch) {
				if _, err := pw.Write(batch); err != nil {
					return err
				}
				batch = batch[:0]
			}
		}
		if _, err := pw.Write(batch); err != nil {
			return err
		}
		return pw.Close()
	})
}

// writeTo is as careful with the file as reports.Create is, so that the
// comparison is one of formats.
func writeTo(path string, fill func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := bufio.NewWriterSize(f, 1<<20)
	if err := fill(b); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

func readReport(dir string, n int) error {
	r, err := reports.Open(filepath.Join(dir, "report.parquet"))
	if err != nil {
		return err
	}
	defer r.Close()
	got := 0
	for _, err := range r.Items() {
		if err != nil {
			return err
		}
		got++
	}
	if got != n {
		return fmt.Errorf("%d items came back of %d", got, n)
	}
	return nil
}

func readJSON(dir string, n int) error {
	f, err := os.Open(filepath.Join(dir, "items.jsonl"))
	if err != nil {
		return err
	}
	defer f.Close()
	got := 0
	for d := json.NewDecoder(bufio.NewReaderSize(f, 1<<20)); d.More(); got++ {
		var it record.Item
		if err := d.Decode(&it); err != nil {
			return err
		}
	}
	if got != n {
		return fmt.Errorf("%d items came back of %d", got, n)
	}
	return nil
}

func renderHTML(dir string, _ int) error {
	r, err := reports.Open(filepath.Join(dir, "report.parquet"))
	if err != nil {
		return err
	}
	defer r.Close()
	return reports.RenderFile(filepath.Join(dir, "report.html"), "html", r, reports.Options{})
}
