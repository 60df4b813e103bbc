package health

import (
	"embed"
	"html"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The status page. Its sources are in page/; the files that are served are compressed
// in page/packed, made by `make golden`. The chart library is uPlot
// (https://github.com/leeoniya/uPlot), under the licence beside it.
//
//go:embed page/packed/*.gz page/index.html page/icon.svg page/vendor/LICENSE
var pageFS embed.FS

// The sources of each packed file, in the order in which they are joined.
var pageParts = map[string][]string{
	"page.js": {
		"vendor/uPlot.iife.min.js", "units.js", "catalogue.js", "series.js", "chart.js", "board.js", "status.js", "app.js",
	},
	"page.css": {"vendor/uPlot.min.css", "style.css"},
}

// slotTime is how long the numbers of /api/status may be reused by the page. A
// change of a status or a reason shows at once.
const slotTime = time.Minute

func embedded(name string) string {
	content, err := pageFS.ReadFile("page/" + name)
	if err != nil {
		panic("BUG: the program has no page/" + name)
	}
	return string(content)
}

// packedFile is a file whose address has its checksum, so that clients may keep it.
func packedFile(name, kind string) reply {
	packed := embedded("packed/" + name + ".gz")
	body := sync.OnceValues(func() (string, error) { return unpack(packed) })
	return reply{status: http.StatusOK, kind: kind, packed: packed, unpack: body, etag: etagOf(packed), cache: cacheForever}
}

// pageFiles are the page's files by path. There is no directory to list.
func pageFiles() map[string]reply {
	icon := embedded("icon.svg")
	return map[string]reply{
		"/page/page.js":        packedFile("page.js", "text/javascript; charset=utf-8"),
		"/page/page.css":       packedFile("page.css", "text/css; charset=utf-8"),
		"/page/icon.svg":       {status: http.StatusOK, kind: "image/svg+xml", body: icon, etag: etagOf(icon), cache: cacheForever},
		"/page/vendor/LICENSE": {status: http.StatusOK, kind: "text/plain; charset=utf-8", body: embedded("vendor/LICENSE"), cache: cacheAndAsk},
	}
}

// indexParts is index.html with the checksums of its files, before and after the
// status for browsers without scripts.
var indexParts = sync.OnceValues(func() (head, tail string) {
	page := embedded("index.html")
	for path, file := range pageFiles() {
		if file.etag != "" {
			page = strings.ReplaceAll(page, `"`+path+`"`, `"`+path+"?"+strings.Trim(file.etag, `"`)+`"`)
		}
	}
	head, tail, found := strings.Cut(page, "{{status}}")
	if !found {
		panic("BUG: page/index.html has no place for the status")
	}
	return head, tail
})

// A written page is the page of the last report, for all requests until the next.
type written struct {
	mu   sync.Mutex
	of   string // which judgement
	page reply
}

// page answers with the page, which has the present status in it for browsers without
// scripts. It is written and compressed once for all requests of one report.
func (s *Server) page(r *http.Request) reply {
	report := s.report(r)
	of := report.Timestamp + gist(report)
	s.written.mu.Lock()
	defer s.written.mu.Unlock()
	if s.written.of == of {
		return s.written.page
	}
	head, tail := indexParts()
	body := head + plainStatus(report) + tail
	packed, err := pack(body)
	if err != nil {
		return problem(http.StatusInternalServerError, "the page cannot be compressed")
	}
	s.written.of = of
	s.written.page = reply{
		status: http.StatusOK, kind: "text/html; charset=utf-8", body: body, packed: packed,
		etag: etagOf(body), cache: cacheAndAsk,
	}
	return s.written.page
}

// plainStatus writes a report as HTML without a script: the status, each reason and the
// most important numbers.
func plainStatus(r Report) string {
	var b strings.Builder
	b.WriteString("<p>Status of " + html.EscapeString(r.DeviceID) + ": <strong>" + string(r.Status) + "</strong>, " + r.Timestamp + "</p>\n<ul>\n")
	for _, reason := range r.Reasons {
		b.WriteString("<li>" + html.EscapeString(reason.Message) + " <code>" + html.EscapeString(string(reason.Code)) + "</code></li>\n")
	}
	b.WriteString("</ul>\n<pre>")
	var facts strings.Builder
	if err := Text(&facts, r, false); err == nil {
		b.WriteString(html.EscapeString(facts.String()))
	}
	b.WriteString("</pre>\n")
	return b.String()
}

// status is health for the page, always with HTTP status 200. Its entity tag holds for a
// minute while no status and no reason changes, so that most requests of a page are
// answered with 304 and few bytes.
func (s *Server) status(r *http.Request) reply {
	report := s.report(r)
	a := jsonReply(http.StatusOK, report.JSON())
	a.etag, a.cache = etagOf(gist(report)), cacheAndAsk
	return a
}

// gist has everything that a page must show at once, and the minute of the report.
func gist(r Report) string {
	var b strings.Builder
	at, err := time.Parse(time.RFC3339, r.Timestamp)
	if err != nil {
		return r.Timestamp
	}
	b.WriteString(at.Truncate(slotTime).Format(time.RFC3339) + r.Version + r.DeviceID + string(r.Status) + string(r.Uploader.Status) + string(r.Storage.Status) + string(r.Time.Status))
	for _, reason := range r.Reasons {
		b.WriteString("\n" + string(reason.Code) + reason.Component + string(reason.Severity) + reason.Since)
	}
	for _, name := range []string{collector, shipper} {
		b.WriteString("\n" + string(r.Daemons[name].State))
	}
	return b.String()
}
