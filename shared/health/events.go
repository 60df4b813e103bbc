package health

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/taniwha3/thugshells/shared/store"
)

// maxEvents bounds the answer of /api/events, and the events read from each source.
const maxEvents = 100

// An Event is something that happened at a moment.
type Event struct {
	TimeMs int64  `json:"time_ms"` // Unix milliseconds
	Source string `json:"source"`  // board, collector, clock, losses, or the collector's own sources
	Text   string `json:"text"`
	Bad    bool   `json:"bad"` // something was lost, failed or ended unexpectedly
}

// events answers with the newest events, newest first: starts and ends of the collector,
// boots, losses, and the events of the stream.
func (s *Server) events(r *http.Request) reply {
	return s.runQuery(r, func(ctx context.Context, db *store.Reader) (reply, error) {
		all, err := newestEvents(ctx, db)
		if err != nil {
			return reply{}, err
		}
		body, err := json.Marshal(map[string][]Event{"events": all})
		if err != nil {
			return reply{}, fmt.Errorf("write the events as JSON: %w", err)
		}
		a := jsonReply(http.StatusOK, append(body, '\n'))
		a.etag, a.cache = etagOf(a.body), cacheAndAsk
		return a, nil
	})
}

// goodEvents are the events of the stream that are no failures.
var goodEvents = map[string]bool{"srt_connected": true, "pipeline_started": true, "group_registered": true, "link_established": true}

func newestEvents(ctx context.Context, db *store.Reader) ([]Event, error) {
	runs, _, err := db.Sessions(ctx, maxEvents)
	if err != nil {
		return nil, err
	}
	all := sessionEvents(runs)
	_, losses, err := db.Ledger(ctx)
	if err != nil {
		return nil, err
	}
	for _, loss := range losses {
		if loss.Count > 0 {
			all = append(all, Event{
				TimeMs: loss.LastMs, Source: "losses", Bad: true,
				Text: fmt.Sprintf("samples lost (%s): %d in total", loss.Reason, loss.Count),
			})
		}
	}
	happened, _, err := db.RecentEvents(ctx, maxEvents)
	if err != nil {
		return nil, err
	}
	for _, e := range happened {
		all = append(all, Event{TimeMs: e.TimeMs, Source: e.Source, Text: e.Text, Bad: !goodEvents[e.Name]})
	}
	slices.SortStableFunc(all, func(a, b Event) int { return int(b.TimeMs - a.TimeMs) })
	return all[:min(len(all), maxEvents)], nil
}

// sessionEvents are the starts and ends of the collector's sessions, which come
// newest first.
func sessionEvents(runs []store.Run) (all []Event) {
	all = []Event{}
	for i, run := range runs {
		var known struct {
			BootID   string `json:"boot_id"`
			Version  string `json:"version"`
			OffsetMs *int64 `json:"offset_ms"`
		}
		if err := json.Unmarshal([]byte(run.Metadata), &known); err != nil {
			known.Version = "" // a damaged row still has its times
		}
		started := Event{TimeMs: run.StartMs, Source: "collector", Text: strings.TrimSpace("started " + known.Version)}
		if i+1 < len(runs) {
			before := runs[i+1]
			var earlier struct {
				BootID  string `json:"boot_id"`
				Version string `json:"version"`
			}
			if json.Unmarshal([]byte(before.Metadata), &earlier) == nil && earlier.BootID != "" && known.BootID != "" &&
				earlier.BootID != known.BootID {
				started.Source, started.Text = "board", "booted; the collector started "+known.Version
			}
			if before.State != "completed" {
				started.Bad = true
				started.Text += ", after a session that did not end properly"
			}
			if earlier.Version != "" && known.Version != "" && earlier.Version != known.Version {
				started.Text += " (before: " + earlier.Version + ")"
			}
		}
		all = append(all, started)
		if run.EndMs > 0 && run.State == "completed" {
			all = append(all, Event{TimeMs: run.EndMs, Source: "collector", Text: "stopped"})
		}
	}
	return all
}
