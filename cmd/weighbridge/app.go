package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weighbridge/weighbridge/harness"
	"github.com/weighbridge/weighbridge/harness/calibrate"
	"github.com/weighbridge/weighbridge/harness/calibration"
	"github.com/weighbridge/weighbridge/harness/decide"
	"github.com/weighbridge/weighbridge/harness/plan"
	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/probes"
	"github.com/weighbridge/weighbridge/reports"
	"github.com/weighbridge/weighbridge/suites"
	"github.com/weighbridge/weighbridge/supply"
	"github.com/weighbridge/weighbridge/supply/attest"
	"github.com/weighbridge/weighbridge/supply/bundle"
	"github.com/weighbridge/weighbridge/supply/intake"
	"github.com/weighbridge/weighbridge/supply/intake/convert"
	"github.com/weighbridge/weighbridge/supply/manifest"
	"github.com/weighbridge/weighbridge/supply/oci"
	"github.com/weighbridge/weighbridge/supply/provenance"
	"github.com/weighbridge/weighbridge/supply/sbom"
	"github.com/weighbridge/weighbridge/supply/signing"
	"github.com/weighbridge/weighbridge/supply/signing/keyless"
	"github.com/weighbridge/weighbridge/supply/store"
	"github.com/weighbridge/weighbridge/supply/trust"
	"github.com/weighbridge/weighbridge/weights"
)

// version names this program in every report.
const version = "0.1.0"

// The exit codes, a closed list.
const (
	exitApprove     = 0
	exitReject      = 1
	exitUsage       = 2 // usage, configuration, unusable input
	exitEscalate    = 3
	exitUnmeasured  = 4
	exitInterrupted = 130 // the same command goes on where it stopped
)

// app is all of the operating system that a verb may touch.
type app struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Executable is the path of this program: the engine lies beside it.
	Executable string
	// StderrWidth is the width of the terminal behind Stderr, 0 where there is none.
	StderrWidth int
	// StdoutWidth likewise.
	StdoutWidth int
	// Notify makes a context that ends on Ctrl-C.
	Notify func(context.Context) (context.Context, context.CancelFunc)
}

func system() *app {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		self = os.Args[0]
	}
	return &app{
		Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Executable: self,
		StdoutWidth: width(os.Stdout), StderrWidth: width(os.Stderr),
		Notify: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
			return ctx, stop
		},
	}
}

func width(f *os.File) int {
	if !isatty.IsTerminal(f.Fd()) {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 {
		return 80
	}
	return w
}

// verdictCode carries the exit code of a run that came to a verdict.
type verdictCode int

func (v verdictCode) Error() string { return fmt.Sprintf("verdict with exit code %d", int(v)) }

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes one command line and gives the exit code.
func run(a *app, args []string) int {
	ctx, stop := a.Notify(context.Background())
	defer stop()
	root := command(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if v := verdictCode(0); errors.As(err, &v) {
		return int(v)
	}
	if err == nil {
		return exitApprove
	}
	code := exitCode(err)
	fmt.Fprintf(a.Stderr, "weighbridge: %s\n", visible(strings.ReplaceAll(err.Error(), "\n", "; ")))
	switch code {
	case exitInterrupted:
		fmt.Fprintln(a.Stderr, "weighbridge: interrupted; what was measured is kept, and the same command goes on from there")
	case exitUnmeasured:
		fmt.Fprintln(a.Stderr, "weighbridge: no verdict; this says nothing about the candidate")
	}
	return code
}

// exitCode sorts an error: what the user can mend is 2, the rest is a fault.
func exitCode(err error) int {
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	for _, mine := range []error{
		weights.ErrFormat, weights.ErrUnsupported, weights.ErrMismatch, weights.ErrMissing, weights.ErrArtifact, weights.ErrChanged,
		plan.ErrPlan, decide.ErrPolicy, probes.ErrCanaries, probes.ErrDocuments, reports.ErrNotReport, harness.ErrBaseline, calibrate.ErrBenign, calibration.ErrFile,
		sandbox.ErrUnavailable, sandbox.ErrBadSpec,
		bundle.ErrKey, bundle.ErrFormat, manifest.ErrFolder, signing.ErrDraft, keyless.ErrTrust,
		trust.ErrTrust, supply.ErrLedger, attest.ErrBinding,
		sbom.ErrBOM, sbom.ErrInput,
		provenance.ErrUsage, provenance.ErrFormat, provenance.ErrGit,
		oci.ErrUnusable,
		intake.ErrSource, intake.ErrChanged, convert.ErrConvert, store.ErrStore, store.ErrCorrupt, store.ErrUnknown, store.ErrAmbiguous,
		fs.ErrNotExist, fs.ErrPermission, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT, syscall.ENOTDIR, syscall.EISDIR,
	} {
		if errors.Is(err, mine) {
			return exitUsage
		}
	}
	if errors.Is(err, errVerdict) {
		return exitReject
	}
	if errors.Is(err, calibrate.ErrHarmful) {
		return exitEscalate
	}
	if code, ok := ledgerExit(err); ok {
		return code
	}
	var usage usageError
	var unknown *probes.ErrUnknown
	var format *reports.UnknownFormatError
	var problem *suites.Problem
	if errors.As(err, &usage) || errors.As(err, &problem) || errors.As(err, &unknown) || errors.As(err, &format) {
		return exitUsage
	}
	return exitUnmeasured
}

// printJSON is the output of every --json.
func printJSON(a *app, v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func command(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "weighbridge",
		Short: "The gate that open model weights pass before anyone runs them",
		Long: `weighbridge puts a candidate (new weights) and a baseline (weights you trust)
into sealed boxes, asks both the same seeded questions, and says approve, reject
or escalate, with the evidence.

Exit codes: 0 approve, 1 reject, 2 usage or unusable input, 3 escalate,
4 could not measure, 130 interrupted (the same command resumes).`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (see `%s --help`)", err, c.CommandPath())
	})
	for _, g := range []struct {
		id, title string
		verbs     []*cobra.Command
	}{
		{"judge", "Judge weights:", []*cobra.Command{diffCommand(a), reportCommand(a), replayCommand(a), decideCommand(a), policyCommand(a),
			calibrateCommand(a), attestCommand(a)}},
		{"supply", "Know where they come from:", []*cobra.Command{signCommand(a), verifyCommand(a), sbomCommand(a), provenanceCommand(a),
			ingestCommand(a), storeCommand(a), ledgerCommand(a), pushCommand(a), pullCommand(a)}},
		{"look", "Look around:", []*cobra.Command{inspectCommand(a), probesCommand(a), suitesCommand(a), sandboxCommand(a), doctorCommand(a)}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, v := range g.verbs {
			v.GroupID = g.id
			root.AddCommand(v)
		}
	}
	root.AddCommand(signModelCommand(a), verifyModelCommand(a)) // hidden
	argumentsAreUsage(root)
	return root
}

// argumentsAreUsage makes a wrong number of arguments, or an unknown verb, a
// usage error everywhere.
func argumentsAreUsage(c *cobra.Command) {
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usagef("%w (see `%s --help`)", err, c.CommandPath())
		}
		return nil
	}
	if c.HasSubCommands() && c.RunE == nil {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		argumentsAreUsage(sub)
	}
}
