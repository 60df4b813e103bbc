package health

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/taniwha3/thugshells/shared/store"
)

// Bounds of one query.
const (
	maxQueries     = 5 // that run or wait; further ones are refused
	queryTime      = 5 * time.Second
	queryGrace     = time.Second // for a query to end after its time is over
	maxNames       = 16
	maxNameBytes   = 256
	maxSeries      = 128
	maxSeriesList  = 1000
	maxRange       = 7 * 24 * time.Hour
	minStep        = time.Second
	maxPoints      = 1500  // of one series
	maxPointsTotal = 30000 // of one answer
	queryDigits    = 9     // significant ones of a value
)

// runQuery runs fn on the database and returns its answer. One query runs at a time and
// few wait, because the board's processors are for the stream. A query on a disk that
// does not answer keeps its place until it ends, but its request is answered after
// queryTime and queryGrace.
func (s *Server) runQuery(r *http.Request, fn func(context.Context, *store.Reader) (reply, error)) reply {
	select {
	case s.tickets <- struct{}{}:
	default:
		return problem(http.StatusServiceUnavailable, "too many queries at once; try again in a second")
	}
	ctx, cancel := context.WithTimeout(r.Context(), queryTime)
	defer cancel()
	answer := make(chan reply, 1)
	go func() {
		defer func() { <-s.tickets }()
		select {
		case s.query <- struct{}{}:
			defer func() { <-s.query }()
		case <-ctx.Done():
			answer <- problem(http.StatusServiceUnavailable, "other queries took too long; try again in a second")
			return
		}
		var a reply
		err := s.watch.Read(func(db *store.Reader) (err error) {
			a, err = fn(ctx, db)
			return err
		})
		switch {
		case err != nil && ctx.Err() != nil:
			a = problem(http.StatusServiceUnavailable,
				fmt.Sprintf("the answer took more than %s to make; ask for a shorter range", queryTime))
		case err != nil:
			a = s.unreadable(err)
		}
		answer <- a
	}()
	timeout := time.NewTimer(queryTime + queryGrace)
	defer timeout.Stop()
	select {
	case a := <-answer:
		return a
	case <-timeout.C:
		return problem(http.StatusServiceUnavailable,
			fmt.Sprintf("%s has not answered for %s; the disk may be failing", s.watch.path, queryTime+queryGrace))
	}
}

// series answers with all numeric series.
func (s *Server) series(r *http.Request) reply {
	return s.runQuery(r, func(ctx context.Context, db *store.Reader) (reply, error) {
		found, err := db.SeriesNamed(ctx, nil, maxSeriesList+1)
		if err != nil {
			return reply{}, err
		}
		return listOf(found), nil
	})
}

// listOf writes series as JSON.
func listOf(found []store.Series) reply {
	type one struct {
		Name   string          `json:"name"`
		Tags   json.RawMessage `json:"tags"`
		Device string          `json:"device_id"`
	}
	answer := struct {
		Truncated bool  `json:"truncated"`
		Series    []one `json:"series"`
	}{Series: []one{}}
	if len(found) > maxSeriesList {
		found, answer.Truncated = found[:maxSeriesList], true
	}
	for _, f := range found {
		answer.Series = append(answer.Series, one{f.Name, tagsJSON(f.Tags), f.Device})
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return problem(http.StatusInternalServerError, "the series are no JSON")
	}
	return jsonReply(http.StatusOK, append(body, '\n'))
}

// samples answers with samples, downsampled to the steps of the question.
func (s *Server) samples(r *http.Request) reply {
	now := time.Now()
	q, err := parseQuestion(r.URL.RawQuery, now)
	if err != nil {
		return problem(http.StatusBadRequest, err.Error())
	}
	return s.runQuery(r, func(ctx context.Context, db *store.Reader) (reply, error) {
		found, err := db.SeriesNamed(ctx, q.names, maxSeries+1)
		if err != nil {
			return reply{}, err
		}
		points := int64(len(found)) * ((q.until-q.since)/q.step.Milliseconds() + 1)
		if len(found) > maxSeries || points > maxPointsTotal {
			return problem(http.StatusBadRequest, fmt.Sprintf("%d series of %d points each are too much for one answer; ask for fewer names, a shorter range or a longer step",
				len(found), points/int64(len(found)))), nil
		}
		body, err := answerTo(ctx, db, q, found, now)
		return jsonReply(http.StatusOK, body), err
	})
}

// columns are the buckets of one series.
type columns struct {
	at            []int64
	min, max, avg []float64
}

// answerTo reads the buckets and writes them as JSON by columns. A step without samples
// is left out.
func answerTo(ctx context.Context, db *store.Reader, q question, found []store.Series, now time.Time) ([]byte, error) {
	span := store.BucketSpan{From: q.since, Until: q.until, StepMs: q.step.Milliseconds(), Rate: q.rate}
	var err error
	if span.SampleMs, err = db.SampleWindow(ctx, q.since, q.until, span.StepMs); err != nil {
		return nil, err
	}
	byID := map[int64]*columns{}
	for _, f := range found {
		span.Series = append(span.Series, f.ID)
		byID[f.ID] = &columns{}
	}
	err = db.Buckets(ctx, span, func(b store.Bucket) {
		c := byID[b.Series]
		c.at, c.min, c.max, c.avg = append(c.at, b.StartMs), append(c.min, b.Min), append(c.max, b.Max), append(c.avg, b.Avg)
	})
	if err != nil {
		return nil, err
	}
	out := fmt.Appendf(nil, `{"now_ms":%d,"since_ms":%d,"until_ms":%d,"step_ms":%d,"sampled_ms":%d,"rate":%t,"series":[`,
		now.UnixMilli(), q.since, q.until, span.StepMs, span.SampleMs, q.rate)
	for i, f := range found {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		c := byID[f.ID]
		out = fmt.Appendf(out, "\n"+`{"name":%s,"tags":%s,"t":[`, name, tagsJSON(f.Tags))
		for i, at := range c.at {
			out = strconv.AppendInt(comma(out, i), at, 10)
		}
		out = appendColumn(out, "min", c.min, queryDigits)
		out = appendColumn(out, "max", c.max, queryDigits)
		out = appendColumn(out, "avg", c.avg, queryDigits)
		out = append(out, "]}"...)
	}
	return append(out, "]}\n"...), nil
}

func comma(out []byte, i int) []byte {
	if i > 0 {
		return append(out, ',')
	}
	return out
}

// appendDigits appends v with a number of significant digits, or null if it is not
// finite, because JSON has no such number.
func appendDigits(out []byte, v float64, digits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(out, "null"...)
	}
	return strconv.AppendFloat(out, v, 'g', digits, 64)
}

// tagsJSON is the stored text of tags as a JSON object. Other text comes from a damaged
// row and becomes a string in an object.
func tagsJSON(tags string) json.RawMessage {
	switch {
	case tags == "":
		return json.RawMessage("{}")
	case !json.Valid([]byte(tags)):
		quoted, err := json.Marshal(tags)
		if err != nil {
			return json.RawMessage("{}")
		}
		return json.RawMessage(`{"unparsed_tags":` + string(quoted) + `}`)
	}
	return json.RawMessage(tags)
}

func problem(status int, message string) reply {
	body, err := json.Marshal(map[string]string{"error": message})
	if err != nil {
		return text(status, message+"\n")
	}
	return jsonReply(status, append(body, '\n'))
}

// unreadable says what is wrong with the database.
func (s *Server) unreadable(err error) reply {
	_, message := faultOf(err, s.watch.path)
	return problem(http.StatusServiceUnavailable, message)
}
