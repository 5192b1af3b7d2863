package main

import (
	"context"
	"errors"
	"sync"

	"github.com/weighbridge/weighbridge/harness/measure"
	"github.com/weighbridge/weighbridge/harness/sandbox"
	"github.com/weighbridge/weighbridge/weights"
)

// boxes starts the boxes of one command.
type boxes struct {
	options *boxOptions
	engine  *measure.Engine
	threads int
	host    *lazyHost
}

// openBoxes finds the engine and removes what a killed command left behind.
// threads is what one box may use.
func openBoxes(ctx context.Context, a *app, o *boxOptions, threads int) (*boxes, error) {
	engine, err := measure.OpenEngine(o.enginePath(a))
	if err != nil {
		return nil, err
	}
	b := &boxes{options: o, engine: engine, threads: threads,
		host: &lazyHost{open: func() (*sandbox.Host, error) { return sandbox.Open(ctx, o.config(a)) }}}
	left, err := sandbox.LeftBehind(o.config(a))
	if err == nil && left {
		_, err = b.host.get()
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *boxes) launcher(side string, w *weights.Model) *measure.BoxLauncher {
	return &measure.BoxLauncher{
		Host: b.host.get, Runtime: b.options.runtime, Engine: b.engine,
		Side: side, Weights: w, Threads: b.threads, Life: b.options.life,
	}
}

func (b *boxes) close() error { return b.host.close() }

// lazyHost is opened with the first box, since a run whose answers are all
// remembered needs none; or at once, when a killed run left boxes to remove.
type lazyHost struct {
	open func() (*sandbox.Host, error)
	once sync.Once
	host *sandbox.Host
	err  error
}

func (l *lazyHost) get() (*sandbox.Host, error) {
	l.once.Do(func() { l.host, l.err = l.open() })
	return l.host, l.err
}

func (l *lazyHost) close() error {
	if l.host == nil {
		return nil
	}
	return l.host.Close()
}
