package receiver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/vmjson"
)

// A batch is the accepted and the rejected lines of one body.
type batch struct {
	lines    []line
	samples  int
	rejected []Rejected
}

// A line is one accepted line of a batch.
type line struct {
	series     string // name and labels, as PromQL writes them
	values     []float64
	timestamps []int64
}

// parse reads a whole body. An error is a refusal: the body itself cannot be accepted.
func parse(body []byte, compressed bool, now time.Time) (*batch, error) {
	plain, err := open(body, compressed)
	if err != nil {
		return nil, err
	}
	b := &batch{rejected: []Rejected{}}
	limits := vmjson.Limits{LineBytes: MaxLineBytes, Samples: MaxSamples}
	err = vmjson.Read(plain, limits, func(number int, l vmjson.Line, refused error) error {
		for i := 0; refused == nil && i < len(l.Values); i++ {
			if err := vmjson.CheckSample(l.Values[i], l.Timestamps[i], now.UnixMilli(), 0); err != nil {
				refused = fmt.Errorf("sample %d: %w", i+1, err)
			}
		}
		if refused != nil {
			if len(b.rejected) == MaxRejected {
				return refuse(http.StatusBadRequest, "more than %d lines are bad, line %d of them first: %s",
					MaxRejected, b.rejected[0].Line, b.rejected[0].Error)
			}
			b.rejected = append(b.rejected, Rejected{number, refused.Error()})
			return nil
		}
		b.samples += len(l.Values)
		b.lines = append(b.lines, line{seriesText(l), slices.Clone(l.Values), slices.Clone(l.Timestamps)})
		return nil
	})
	switch {
	case err == nil:
		return b, nil
	case errors.Is(err, vmjson.ErrTooManySamples):
		return nil, refuse(http.StatusRequestEntityTooLarge, "%v", err)
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		return nil, refused
	}
	return nil, refuse(http.StatusBadRequest, "%v", err)
}

// seriesText writes a series as PromQL does: up{device_id="b7"}, labels sorted.
func seriesText(l vmjson.Line) string {
	labels := slices.SortedFunc(slices.Values(l.Labels), func(a, b vmjson.Label) int { return strings.Compare(a.Name, b.Name) })
	text := append([]byte(l.Name), '{')
	for i, label := range labels {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, label.Name...)
		text = append(text, '=')
		text = strconv.AppendQuote(text, label.Value)
	}
	return string(append(text, '}'))
}

// open returns the plain text of a body. If the body cannot be unpacked (no gzip, cut
// short, too large), open or a later Read fails with a refusal.
func open(body []byte, compressed bool) (io.Reader, error) {
	plain := bufio.NewReader(bytes.NewReader(body))
	where := "the body is gzip, but no Content-Encoding says so"
	if compressed {
		g := &gunzip{body: bytes.NewReader(body), sent: len(body)}
		var err error
		if g.zip, err = gzip.NewReader(g.body); err != nil {
			return nil, refuse(http.StatusBadRequest, "the body is not gzip, as its Content-Encoding says: %v", err)
		}
		g.zip.Multistream(false)
		plain.Reset(g)
		where = "the body is gzip within gzip; send one layer"
	}
	if magic, _ := plain.Peek(2); string(magic) == "\x1f\x8b" { // a Peek that fails fails again in Read
		return nil, refuse(http.StatusBadRequest, "%s", where)
	}
	return plain, nil
}

// gunzip reads one gzip stream that is all of a body (RFC 1952), up to the limits.
type gunzip struct {
	body  *bytes.Reader
	zip   *gzip.Reader
	sent  int // bytes of the body
	plain int // bytes read so far
}

func (g *gunzip) Read(p []byte) (int, error) {
	n, err := g.zip.Read(p)
	g.plain += n
	switch {
	case g.plain > MaxPlainBytes:
		err = refuse(http.StatusRequestEntityTooLarge, "the body is over %d bytes when decompressed", MaxPlainBytes)
	case g.plain > ratioFloor && g.plain > MaxRatio*g.sent:
		err = refuse(http.StatusRequestEntityTooLarge, "the body is compressed more than %d:1", MaxRatio)
	case err == nil:
	case !errors.Is(err, io.EOF):
		err = refuse(http.StatusBadRequest, "the gzip stream is damaged or cut short: %v", err)
	case g.body.Len() > 0:
		err = refuse(http.StatusBadRequest, "%d bytes follow the gzip stream", g.body.Len())
	}
	return n, err
}
