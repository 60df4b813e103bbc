package health

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/taniwha3/thugshells/shared/metric"
)

const (
	// Below it gzip saves less than its header costs.
	minPackedBytes = 400
	// A file whose address holds its own checksum never changes.
	cacheForever = "public, max-age=31536000, immutable"
	// The client may keep the answer and asks each time whether it still holds.
	cacheAndAsk = "private, no-cache"
)

// A reply is a whole answer.
type reply struct {
	status int
	kind   string                 // content type
	body   string                 // as is; "" when only packed is known
	packed string                 // gzip of the body; "": it is made when a client accepts it
	unpack func() (string, error) // makes the body if only packed is known
	etag   string                 // with its quotes; "": the answer has none
	cache  string                 // Cache-Control; "": no-store
}

func text(status int, body string) reply {
	return reply{status: status, kind: "text/plain; charset=utf-8", body: body}
}

func jsonReply(status int, body []byte) reply {
	return reply{status: status, kind: "application/json", body: metric.Clean(string(body))}
}

// etagOf is the entity tag of a content (RFC 9110, 8.8.3).
func etagOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// write sends the answer: packed if the client accepts gzip, and 304 without a
// body if the client has it already.
func (a reply) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-store")
	if a.cache != "" {
		h.Set("Cache-Control", a.cache)
	}
	if a.etag != "" {
		h.Set("ETag", a.etag)
		if a.status == http.StatusOK && has(r.Header.Values("If-None-Match"), a.etag) {
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	body, encoding, err := a.encoded(acceptsGzip(r))
	if err != nil {
		return err
	}
	if a.packed != "" || len(a.body) >= minPackedBytes {
		h.Set("Vary", "Accept-Encoding")
	}
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.WriteString(w, body)
	return err
}

// encoded returns the bytes to send and their encoding: "gzip", or "" for none.
func (a reply) encoded(accepted bool) (body, encoding string, err error) {
	switch {
	case accepted && a.packed != "":
		return a.packed, "gzip", nil
	case accepted && len(a.body) >= minPackedBytes:
		packed, err := pack(a.body)
		return packed, "gzip", err
	case a.body == "" && a.unpack != nil:
		body, err = a.unpack()
		return body, "", err
	}
	return a.body, "", nil
}

// packers are gzip writers for answers. At this level one takes a tenth of the
// memory of the usual one and packs the answers a tenth worse.
var packers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return w
}}

// pack is the gzip of an answer.
func pack(body string) (string, error) {
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	return packWith(w, body)
}

func packWith(w *gzip.Writer, body string) (string, error) {
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := io.WriteString(w, body); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return out.String(), nil
}

func unpack(packed string) (string, error) {
	r, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r)
	return string(body), err
}

// has says whether a list of entity tags (RFC 9110, 13.1.2) holds etag, or any.
func has(lists []string, etag string) bool {
	for _, list := range lists {
		for one := range strings.SplitSeq(list, ",") {
			one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
			if one == etag || one == "*" {
				return true
			}
		}
	}
	return false
}

// acceptsGzip reads Accept-Encoding (RFC 9110, 12.5.3): gzip or * without q=0.
func acceptsGzip(r *http.Request) bool {
	for _, list := range r.Header.Values("Accept-Encoding") {
		for one := range strings.SplitSeq(list, ",") {
			coding, weight, _ := strings.Cut(strings.TrimSpace(one), ";")
			coding = strings.TrimSpace(coding)
			if !strings.EqualFold(coding, "gzip") && coding != "*" {
				continue
			}
			q, weighted := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			if v, err := strconv.ParseFloat(q, 64); !weighted || err == nil && v > 0 {
				return true
			}
		}
	}
	return false
}
