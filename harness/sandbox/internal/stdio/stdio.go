// Package stdio makes one net.Conn out of two pipes, so that they can carry
// HTTP/2 between a box and its host, and names the paths both ends agree on.
//
// Deadlines reach the pipes, which therefore must be opened non-blocking. It
// will not frame, buffer or log anything.
package stdio

import (
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Paths that the guest keeps for itself.
const (
	PathPing     = "/box/ping"     // GET: a sign of life
	PathSelfTest = "/box/selftest" // GET: JSON list of proof.Observation
	PathOpen     = "/box/open"     // POST: the host accepts the self-test
)

// HTTP2 are the sizes of both ends: few, large frames, because each frame costs
// a copy through the runtime's shim.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          4096,
		StrictMaxConcurrentRequests:   true,
		MaxReadFrameSize:              1 << 20,
		MaxReceiveBufferPerConnection: 8 << 20,
		MaxReceiveBufferPerStream:     4 << 20,
	}
}

// Protocols is HTTP/2 from the first byte, and nothing else.
func Protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Conn is a net.Conn over a pipe to read from and a pipe to write to.
type Conn struct {
	r, w *os.File
	read atomic.Int64
	once sync.Once
	done chan struct{}
	err  error
}

var _ net.Conn = (*Conn)(nil)

// New returns a Conn that owns r and w.
func New(r, w *os.File) *Conn { return &Conn{r: r, w: w, done: make(chan struct{})} }

// Received returns how many bytes have been read so far.
func (c *Conn) Received() int64 { return c.read.Load() }

// Done is closed by Close.
func (c *Conn) Done() <-chan struct{} { return c.done }

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c *Conn) Write(p []byte) (int, error) { return c.w.Write(p) }

// Close closes both pipes once.
func (c *Conn) Close() error {
	c.once.Do(func() {
		c.err = errors.Join(c.w.Close(), c.r.Close())
		close(c.done)
	})
	return c.err
}

func (c *Conn) LocalAddr() net.Addr  { return addr{} }
func (c *Conn) RemoteAddr() net.Addr { return addr{} }

func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.r.SetReadDeadline(t), c.w.SetWriteDeadline(t))
}
func (c *Conn) SetReadDeadline(t time.Time) error  { return c.r.SetReadDeadline(t) }
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.w.SetWriteDeadline(t) }

type addr struct{}

func (addr) Network() string { return "stdio" }
func (addr) String() string  { return "box" }

// Listener hands out one connection, then blocks until that one closes.
type Listener struct {
	conn *Conn
	used atomic.Bool
}

// Listen returns a listener whose only connection is c.
func Listen(c *Conn) *Listener { return &Listener{conn: c} }

// Accept returns the connection, and net.ErrClosed once that has ended.
func (l *Listener) Accept() (net.Conn, error) {
	if l.used.Swap(true) {
		<-l.conn.done
		return nil, net.ErrClosed
	}
	return l.conn, nil
}

// Close closes the connection too: there is nothing else to close.
func (l *Listener) Close() error   { return l.conn.Close() }
func (l *Listener) Addr() net.Addr { return addr{} }
