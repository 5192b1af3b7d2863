package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/client"

	"github.com/weighbridge/weighbridge/harness/sandbox/internal/stdio"
	"github.com/weighbridge/weighbridge/harness/sandbox/proof"
)

const stderrLimit = 64 << 10

// Box is a running box. It is safe for concurrent use.
type Box struct {
	// ID is unique on the machine; it is also the container's id.
	ID string
	// Proof is the self-test that the box passed.
	Proof proof.Report

	name     string
	host     *Host
	task     client.Task
	pipes    *pipes
	exit     <-chan client.ExitStatus
	stopWait context.CancelFunc
	deadline time.Time
	want     proof.Walls
	conn     *stdio.Conn
	client   *http.Client
	stderr   *tail

	asked     chan end // the first reason of ours to end the box
	done      chan struct{}
	ended     End   // valid once done is closed
	removeErr error // likewise
}

// end is a reason of the host to end a box.
type end struct {
	kind   EndKind
	detail string
}

// HTTP returns the only way to talk to the guest: an HTTP/2 client bound to
// the box whatever host the URL names (use http://box/path). Many requests may
// be in flight; their contexts cancel them. It follows no redirects.
func (b *Box) HTTP() *http.Client { return b.client }

// Stderr returns the last 64 KiB of the guest's log. It is hostile text.
func (b *Box) Stderr() string { return b.stderr.String() }

// Done is closed when the box has ended and all of it is removed.
func (b *Box) Done() <-chan struct{} { return b.done }

// Wait waits for Done or ctx and returns how the box ended. An error other than
// the context's says that something of the box could not be removed.
func (b *Box) Wait(ctx context.Context) (End, error) {
	select {
	case <-b.done:
		return b.ended, b.removeErr
	case <-ctx.Done():
		return End{}, fmt.Errorf("waiting for the end of box %s: %w", b.name, ctx.Err())
	}
}

// Stop kills the box, waits until it is gone and returns how it ended: Stopped,
// or the earlier end if there was one. Stopping twice is fine.
func (b *Box) Stop(ctx context.Context) (End, error) {
	b.ask(Stopped, "the host stopped it")
	return b.Wait(ctx)
}

// GiveUp is Stop for a caller that waited in vain for an answer: the end is
// called Hung with detail.
func (b *Box) GiveUp(ctx context.Context, detail string) (End, error) {
	b.ask(Hung, detail)
	return b.Wait(ctx)
}

// ask tells the supervisor to end the box. Only the first reason counts.
func (b *Box) ask(kind EndKind, detail string) {
	select {
	case b.asked <- end{kind, detail}:
	default:
	}
}

// supervise follows the box to its end and removes it.
func (b *Box) supervise() {
	var logDone sync.WaitGroup
	logDone.Go(func() { io.Copy(b.stderr, b.pipes.stderr) })
	stopHeart := make(chan struct{})
	var heartDone sync.WaitGroup
	heartDone.Go(func() { b.heartbeat(stopHeart) })
	life := time.NewTimer(time.Until(b.deadline))
	defer life.Stop()

	var reason *end
	var status client.ExitStatus
	var known bool
	select {
	case status, known = <-b.exit:
	case r := <-b.asked:
		reason = &r
	case <-life.C:
		reason = &end{Deadline, "its life time was over"}
	}
	close(stopHeart)

	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	if reason != nil {
		// It may have ended by itself a moment ago: that end is the true one.
		select {
		case status, known = <-b.exit:
			reason = nil
		default:
			status, known = b.kill(ctx)
		}
	}
	b.ended = b.classify(ctx, reason, status, known)
	b.conn.Close() // requests in flight fail now
	heartDone.Wait()
	b.client.CloseIdleConnections()
	b.removeErr = b.host.remove(ctx, b.ID)
	b.stopWait()
	b.pipes.stderr.SetReadDeadline(time.Now().Add(time.Second)) // in case a shim survives with its end
	logDone.Wait()
	b.removeErr = errors.Join(b.removeErr, b.pipes.close())
	b.host.mu.Lock()
	delete(b.host.boxes, b.ID)
	b.host.mu.Unlock()
	close(b.done)
}

// kill ends the guest and waits for its exit. When the runtime does not obey,
// its processes are killed without it.
func (b *Box) kill(ctx context.Context) (status client.ExitStatus, known bool) {
	try, cancel := context.WithTimeout(ctx, removeTimeout/3)
	defer cancel()
	if err := b.task.Kill(try, 9, client.WithKillAll); err != nil {
		b.host.killProcesses(b.ID)
	}
	select {
	case status, known = <-b.exit:
	case <-try.Done():
		b.host.killProcesses(b.ID)
		select {
		case status, known = <-b.exit:
		case <-ctx.Done():
		}
	}
	return status, known
}

// heartbeat sends signs of life, by which the guest knows that its host lives,
// and gives the box up when nothing comes back. Like the guest it counts beats
// instead of comparing times, so that a machine that slept blames nobody.
func (b *Box) heartbeat(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var inFlight sync.WaitGroup
	defer inFlight.Wait()
	defer cancel()
	var waiting atomic.Bool
	every := b.host.cfg.Heartbeat
	allowed := int(b.host.cfg.HangAfter / every)
	t := time.NewTicker(every)
	defer t.Stop()
	seen, missed := b.conn.Received(), 0
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		if n := b.conn.Received(); n != seen || !waiting.Load() {
			seen, missed = n, 0
		} else if missed++; missed >= allowed {
			b.ask(Hung, fmt.Sprintf("it has not answered for %v", b.host.cfg.HangAfter))
			return
		}
		if waiting.CompareAndSwap(false, true) {
			inFlight.Go(func() {
				b.get(ctx, stdio.PathPing, io.Discard)
				waiting.Store(false)
			})
		}
	}
}

// get asks the guest package for one of its paths.
func (b *Box) get(ctx context.Context, path string, w io.Writer) error {
	return b.call(ctx, http.MethodGet, path, w)
}

func (b *Box) call(ctx context.Context, method, path string, w io.Writer) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://box"+path, nil)
	if err != nil {
		return err
	}
	res, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: the guest answers %d", method, path, res.StatusCode)
	}
	_, err = io.Copy(w, res.Body)
	return err
}

// newClient returns a client whose only connection is c.
func newClient(c *stdio.Conn) *http.Client {
	var used atomic.Bool
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Protocols:          stdio.Protocols(),
			HTTP2:              stdio.HTTP2(),
			DisableCompression: true,
			// What comes back is hostile; the default of 10 MiB is generous.
			MaxResponseHeaderBytes: 64 << 10,
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				if used.Swap(true) {
					return nil, errBoxEnded
				}
				return c, nil
			},
		},
	}
}

var errBoxEnded = errors.New("the box has ended")

// tail keeps the last bytes of a log.
type tail struct {
	mu    sync.Mutex
	buf   []byte
	limit int
}

func newTail(limit int) *tail { return &tail{limit: limit} }

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(p)
	p = p[max(0, len(p)-t.limit):]
	if over := len(t.buf) + len(p) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
