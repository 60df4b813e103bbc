package health

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
)

// Limits of the HTTP server. An answer is small and made in milliseconds, so a client
// that needs longer is stuck or hostile.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 10 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 8 << 10
	stopTimeout       = 2 * time.Second
)

// A Server answers over HTTP. It only reads, and knows only GET and HEAD.
type Server struct {
	watch   *Watch
	log     *slog.Logger
	device  string
	version string
	started time.Time
	hosts   hosts
	routes  map[string]func(*http.Request) reply
	tickets chan struct{} // queries that wait or run
	query   chan struct{} // the one that runs
	written written
}

// NewServer returns a Server of watch's reports. Version and started are those of the
// process.
func NewServer(watch *Watch, c config.Config, version string, started time.Time, log *slog.Logger) *Server {
	s := &Server{
		watch: watch, log: log, device: c.Device.ID, version: version, started: started,
		hosts:   hostsOf(c.Health.Addr()),
		tickets: make(chan struct{}, maxQueries),
		query:   make(chan struct{}, 1),
	}
	path := c.Health.Path
	s.routes = map[string]func(*http.Request) reply{
		"/metrics":    s.metrics,
		"/api/status": s.status,
		"/api/series": s.series,
		"/api/query":  s.samples,
		"/api/charts": s.charts,
		"/api/events": s.events,
		"/":           s.page,
	}
	for at, file := range pageFiles() {
		s.routes[at] = func(*http.Request) reply { return file }
	}
	// Last, so that a configured path replaces others.
	s.routes[path] = s.health
	s.routes[path+"/live"] = s.live
	s.routes[path+"/ready"] = s.ready
	return s
}

// Serve answers on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		// net/http adds 4 KiB to this limit.
		MaxHeaderBytes: maxHeaderBytes - 4<<10,
		ConnContext:    withConn,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(&limited{Listener: l}) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stopping); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if err := srv.Close(); err != nil {
		return err
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP checks the host name and the method, and answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	done := markBusy(r.Context())
	a, allow := s.answer(r)
	done()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	if allow != "" {
		h.Set("Allow", allow)
	}
	if err := a.write(w, r); err != nil {
		s.log.Debug("client went away during its answer", "error", err)
	}
}

func (s *Server) answer(r *http.Request) (a reply, allow string) {
	if !s.hosts.allow(r.Host) {
		return text(http.StatusForbidden, "unknown host name; use the IP address, localhost or the name in health.listen\n"), ""
	}
	route, ok := s.routes[r.URL.Path]
	if !ok {
		return text(http.StatusNotFound, "nothing here\n"), ""
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return text(http.StatusMethodNotAllowed, "GET and HEAD only\n"), "GET, HEAD"
	}
	return route(r), ""
}

// report returns the present report with the fields that only the server knows.
func (s *Server) report(r *http.Request) Report {
	report := s.watch.Current(r.Context())
	report.Version, report.DeviceID = s.version, s.device
	report.UptimeSeconds = int64(time.Since(s.started).Seconds())
	return report
}

// health answers with the report: 200 for ok and degraded, 503 for error.
func (s *Server) health(r *http.Request) reply {
	report := s.report(r)
	status := http.StatusOK
	if report.Status == StatusError {
		status = http.StatusServiceUnavailable
	}
	return jsonReply(status, report.JSON())
}

// live answers while the process serves. It does not read the database.
func (s *Server) live(*http.Request) reply { return text(http.StatusOK, "live\n") }

// ready answers 503 until a sample was delivered, and then 200 only while the status is
// ok.
func (s *Server) ready(r *http.Request) reply {
	report := s.report(r)
	if !report.Ready || report.Status != StatusOK {
		why := "nothing was ever delivered\n"
		if len(report.Reasons) > 0 {
			why = string(report.Status) + ": " + report.Reasons[0].Message + "\n"
		}
		return text(http.StatusServiceUnavailable, why)
	}
	return text(http.StatusOK, "ready\n")
}
