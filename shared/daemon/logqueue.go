package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// maxQueued bounds the lines that wait for the log, in bytes.
	maxQueued = 256 << 10
	// closeLimit is how long the end of the process waits for the log.
	closeLimit = 300 * time.Millisecond
)

// A logQueue stands between the work and the log. A Write never waits and never
// fails: lines that find no room, because the log does not take them, are dropped
// and counted, and so are lines that the log refuses. Their number is logged
// once it takes lines again.
type logQueue struct {
	out    io.Writer
	format func(io.Writer) slog.Handler // of the line about dropped ones

	mu      sync.Mutex
	lines   [][]byte
	bytes   int
	dropped int64
	closed  bool

	more chan struct{} // something happened; holds one
	done chan struct{} // closed when all is written after close
}

func newLogQueue(out io.Writer, format func(io.Writer) slog.Handler) *logQueue {
	q := &logQueue{out: out, format: format, more: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Write queues one line.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.closed || q.bytes+len(line) > maxQueued {
		q.dropped++
	} else {
		q.lines = append(q.lines, bytes.Clone(line))
		q.bytes += len(line)
	}
	q.mu.Unlock()
	q.wake()
	return len(line), nil
}

func (q *logQueue) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// run writes what is queued, until the queue is closed and empty.
func (q *logQueue) run() {
	defer close(q.done)
	for range q.more {
		for {
			line, closed := q.next()
			if line == nil {
				if closed {
					return
				}
				break
			}
			if _, err := q.out.Write(line); err != nil {
				q.drop(1)
				continue
			}
			q.confess()
		}
	}
}

// next takes the oldest line, nil if there is none.
func (q *logQueue) next() (line []byte, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) == 0 {
		q.lines = nil // the backing array of a long queue is not kept
		return nil, q.closed
	}
	line, q.lines = q.lines[0], q.lines[1:]
	q.bytes -= len(line)
	return line, q.closed
}

func (q *logQueue) drop(n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped += n
}

// confess logs how many lines were dropped, if any were.
func (q *logQueue) confess() {
	q.mu.Lock()
	n := q.dropped
	q.dropped = 0
	q.mu.Unlock()
	if n == 0 {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "the log output was blocked; lines were dropped", 0)
	r.AddAttrs(slog.Int64("lines", n))
	if err := q.format(q.out).Handle(context.Background(), r); err != nil {
		q.drop(n)
	}
}

// close takes no more lines and waits for the others to be written, until limit;
// it says whether they were.
func (q *logQueue) close(limit time.Duration) bool {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.wake()
	select {
	case <-q.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// A patient writes to w what a program says outside of its log, and gives up on
// a reader that does not take it. It is used by one goroutine.
type patient struct {
	w    io.Writer
	gone bool // w did not take the last text
}

var errNotTaken = errors.New("nobody reads it")

func (p *patient) Write(text []byte) (int, error) {
	if p.gone {
		return 0, errNotTaken
	}
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func(text []byte) {
		n, err := p.w.Write(text)
		done <- result{n, err}
	}(bytes.Clone(text))
	select {
	case r := <-done:
		return r.n, r.err
	case <-time.After(closeLimit):
		p.gone = true
		return 0, errNotTaken
	}
}
