package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weighbridge/weighbridge/internal/durable"
	"github.com/weighbridge/weighbridge/reports"
)

// battery is everything that the report of a member depends on but the member.
type battery struct {
	program, engine              string
	zoo, baseline, suite, policy string
	seed                         uint64
	folder, store                string // of the reports, of remembered measurements
	repeat, readOnly             bool
	log                          io.Writer

	mu      sync.Mutex        // guards digests and log
	digests map[string]string // of files, by path
}

// reports makes the reports of all members, some at the same time: the first
// alone, since it measures the baseline for the others too.
func (b *battery) reports(ctx context.Context, members []member, jobs int) ([]*result, []error) {
	results, faults := make([]*result, len(members)), make([]error, len(members))
	var g errgroup.Group
	g.SetLimit(max(1, jobs))
	for i := range members {
		g.Go(func() error {
			results[i], faults[i] = b.report(ctx, &members[i])
			return nil
		})
		if i == 0 {
			g.Wait()
		}
	}
	g.Wait()
	return results, faults
}

// keyFile stands beside a report and holds what it was made from.
const keyFile = "zoo-key"

// report makes the report of m, unless there is one of the same bytes, and
// judges it. A report that is not there and must not be made gives nil.
func (b *battery) report(ctx context.Context, m *member) (*result, error) {
	dir := filepath.Join(b.folder, m.Name)
	path := filepath.Join(dir, "report.parquet")
	if b.readOnly {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return b.read(m, dir)
	}
	canaries, err := m.canaryLines()
	if err != nil {
		return nil, err
	}
	key, err := b.key(m, canaries)
	if err != nil {
		return nil, err
	}
	if was, err := os.ReadFile(filepath.Join(dir, keyFile)); err == nil && string(was) == key && !b.repeat {
		if r, err := b.read(m, dir); err == nil {
			return r, nil
		}
		// A report that was cut short is made again.
	}
	began := time.Now()
	if err := b.diff(ctx, m, dir, canaries); err != nil {
		return nil, err
	}
	if err := durable.Write(filepath.Join(dir, keyFile), 0o644, func(w io.Writer) error { _, err := io.WriteString(w, key); return err }); err != nil {
		return nil, err
	}
	r, err := b.read(m, dir)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		fmt.Fprintf(b.log, "%s: %s in %.0f s\n", m.Name, r.outcome, time.Since(began).Seconds())
	}
	return r, err
}

// key is a digest of all bytes that the report of m follows from.
func (b *battery) key(m *member, canaries []byte) (string, error) {
	h := sha256.New()
	for _, path := range []string{b.program, b.engine, b.baseline, filepath.Join(b.zoo, m.File), b.suite, b.policy} {
		d, err := b.digest(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s\n", d)
	}
	fmt.Fprintf(h, "%s %d %x\n", m.Kind, b.seed, sha256.Sum256(canaries))
	return hex.EncodeToString(h.Sum(nil)), nil
}

// digest is of the file at path; a name that is no file, as of a built-in
// suite, stands for itself, since the program's digest covers what it means.
func (b *battery) digest(path string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d, ok := b.digests[path]; ok {
		return d, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && filepath.Base(path) == path || path == "" {
		return "name " + path, nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	d := hex.EncodeToString(h.Sum(nil))
	b.digests[path] = d
	return d, nil
}

func (b *battery) diff(ctx context.Context, m *member, dir string, canaries []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// The old report must not pass for the new one if this run breaks off.
	if err := os.Remove(filepath.Join(dir, keyFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	flag := "--candidate"
	if m.Kind == "adapter" {
		flag = "--candidate-adapter"
	}
	args := []string{"diff", "--baseline", b.baseline, flag, filepath.Join(b.zoo, m.File), "--suite", b.suite,
		"--engine", b.engine, "--seed", fmt.Sprint(b.seed), "--out", dir, "--store", b.store}
	if b.policy != "" {
		args = append(args, "--policy", b.policy)
	}
	if len(canaries) > 0 {
		file := filepath.Join(dir, "canaries.jsonl")
		if err := durable.Write(file, 0o644, func(w io.Writer) error { _, err := w.Write(canaries); return err }); err != nil {
			return err
		}
		args = append(args, "--canaries", file)
	}
	cmd := exec.CommandContext(ctx, b.program, args...)
	said, err := cmd.CombinedOutput()
	// Reject and escalate are verdicts too: exit codes 1 and 3.
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 3) {
		return fmt.Errorf("%v: %w\n%s", cmd.Args, err, said)
	}
	return nil
}

func (b *battery) read(m *member, dir string) (*result, error) {
	rep, err := reports.Open(filepath.Join(dir, "report.parquet"))
	if err != nil {
		return nil, err
	}
	defer rep.Close()
	r := judge(m, rep.Run())
	r.alone, err = ownScores(rep.Run(), rep.Items())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	var t struct {
		Total time.Duration `json:"total_ns"`
	}
	if src, err := os.ReadFile(filepath.Join(dir, "timings.json")); err == nil {
		if err := json.Unmarshal(src, &t); err != nil {
			return nil, fmt.Errorf("%s: timings.json: %w", dir, err)
		}
		r.took = t.Total
	}
	return r, nil
}
