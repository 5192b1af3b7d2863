package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/stdio"
)

// ErrClosed is returned by Start after Close.
var ErrClosed = errors.New("the sandbox host is closed")

// Start makes the box, runs its self-test and returns it ready to be asked.
// ctx bounds the start only. Errors: ErrBadSpec, ErrClosed, *ProofError,
// *EndError, or a fault of the machine.
func (h *Host) Start(ctx context.Context, s Spec) (*Box, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	h.starts.Add(1)
	h.mu.Unlock()
	defer h.starts.Done()

	ctx, cancel := context.WithTimeout(ctx, h.cfg.StartTimeout)
	defer cancel()
	b, err := h.create(ctx, s)
	if err != nil {
		if done := ctx.Err(); done != nil && !errors.Is(err, done) {
			err = fmt.Errorf("%w: %w", done, err) // the error of a wire that was cut says less
		}
		return nil, fmt.Errorf("starting box %s: %w", s.Name, err)
	}
	if err := b.prove(ctx); err != nil {
		return nil, b.startFailed(err)
	}
	return b, nil
}

// create makes the container and starts its task. On an error nothing is left.
func (h *Host) create(ctx context.Context, s Spec) (_ *Box, err error) {
	if s.Files, err = resolve(s.Files); err != nil {
		return nil, err
	}
	img, err := h.image(ctx, s)
	if err != nil {
		return nil, err
	}
	ns, err := closedNetNS()
	if err != nil {
		return nil, err
	}
	defer ns.Close() // from its start on the box itself keeps the namespace

	id := "wb-" + randomHex(6)
	plan, err := Plan(s, Where{ID: id, Runtime: h.run.name, NetNS: netNSPath(ns), Swap: h.swap})
	if err != nil {
		return nil, err
	}
	p, err := newPipes(filepath.Join(h.place.path("io"), id))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
			defer cancel()
			err = errors.Join(err, h.remove(clean, id), p.close())
		}
	}()
	deadline := time.Now().Add(s.Life)
	// containerd goes on with what a caller no longer waits for, and would be
	// done after the removal above has looked: what makes something is waited
	// for, and the caller's end is asked about in between.
	made, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.StartTimeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := h.client.NewContainer(made, id,
		client.WithImage(img),
		client.WithSnapshotter(h.snap),
		client.WithNewSnapshotView(id, img),
		h.run.option(),
		client.WithSpec(plan),
		client.WithContainerLabels(map[string]string{
			labelOwner:    h.me.String(),
			labelDeadline: deadline.UTC().Format(time.RFC3339),
			labelName:     s.Name,
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("creating the container: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	task, err := c.NewTask(made, p.attach)
	if err != nil {
		return nil, fmt.Errorf("creating the task: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Waiting must come before Start, or a quick exit is missed.
	waitCtx, stopWait := context.WithCancel(context.WithoutCancel(ctx))
	exit, err := task.Wait(waitCtx)
	if err == nil {
		err = task.Start(made)
	}
	if err != nil {
		stopWait()
		return nil, fmt.Errorf("starting the task: %w", err)
	}
	b := &Box{
		ID: id, name: s.Name, host: h, task: task, pipes: p, exit: exit, stopWait: stopWait,
		deadline: deadline,
		want:     wanted(h.run.name, s, plan),
		stderr:   newTail(stderrLimit),
		asked:    make(chan end, 1),
		done:     make(chan struct{}),
		conn:     stdio.New(p.stdout, p.stdin),
	}
	b.client = newClient(b.conn)
	h.mu.Lock()
	h.boxes[id] = b
	h.mu.Unlock()
	go b.supervise()
	return b, nil
}

// resolve follows symlinks, so that what is bound is the file that was looked
// at, and refuses what is not a regular file.
func resolve(files []File) ([]File, error) {
	out := make([]File, len(files))
	for i, f := range files {
		p, err := filepath.EvalSymlinks(f.Host)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadSpec, err)
		}
		st, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBadSpec, err)
		}
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: %s is not a regular file", ErrBadSpec, p)
		}
		out[i] = File{Host: p, Box: f.Box}
	}
	return out, nil
}

// startFailed removes the box and turns err into what happened: an end of the
// guest explains a broken wire better than the wire does.
func (b *Box) startFailed(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	// A guest that died breaks the wire some milliseconds before its exit is
	// known; without this pause its end would be taken for ours.
	if !errors.As(err, new(*ProofError)) && !errors.Is(err, context.DeadlineExceeded) {
		select {
		case <-b.done:
		case <-time.After(time.Second):
		}
	}
	ended, stopErr := b.Stop(ctx)
	if stopErr == nil && ended.Kind != Stopped {
		return &EndError{Name: b.name, End: ended, Stderr: b.Stderr()}
	}
	return errors.Join(err, stopErr)
}
