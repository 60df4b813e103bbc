package salvage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"math"
	"strings"

	"github.com/taniwha3/thugshells/shared/store"
)

const (
	// rowsAtOnce is how many rows one statement writes.
	rowsAtOnce = 64

	intoSamples = "INSERT INTO main.samples (timestamp_ms, series_id, value, value_text, session, uploaded, priority) VALUES "
	sampleMarks = "(?, ?, ?, ?, ?, ?, ?)"
	// Of two copies of a sample, the one in the later state is kept: delivered,
	// rejected, pending, held.
	laterState = ` ON CONFLICT DO UPDATE SET value = excluded.value, value_text = excluded.value_text, session = excluded.session,
		uploaded = excluded.uploaded, priority = excluded.priority
		WHERE substr('24310', excluded.uploaded + 1, 1) > substr('24310', samples.uploaded + 1, 1)`
)

// A sampleWriter writes samples into the new file. There are millions of them, so
// it calls the driver directly: database/sql takes as long as SQLite itself.
type sampleWriter struct {
	conn    *sql.Conn
	stmt    driver.StmtQueryContext // of rowsAtOnce rows
	args    []driver.NamedValue
	written [store.Local + 1]int64 // rows by state; some may be copies of others
}

func newSampleWriter(w *writer) (*sampleWriter, error) {
	s := &sampleWriter{conn: w.conn, args: make([]driver.NamedValue, rowsAtOnce*len(samplesTable.columns))}
	for i := range s.args {
		s.args[i].Ordinal = i + 1
	}
	err := w.conn.Raw(func(conn any) error {
		marks := strings.TrimSuffix(strings.Repeat(sampleMarks+", ", rowsAtOnce), ", ")
		stmt, err := conn.(driver.Conn).Prepare(intoSamples + marks + laterState)
		if err != nil {
			return err
		}
		w.closeLater(stmt)
		s.stmt = stmt.(driver.StmtQueryContext)
		return nil
	})
	return s, writing(err)
}

// write writes samples. The last statement is filled up with its last row, which
// changes nothing when it is written again.
func (s *sampleWriter) write(rows []sample) error {
	for len(rows) > 0 {
		n := min(len(rows), rowsAtOnce)
		for i := range rowsAtOnce {
			s.set(i, &rows[min(i, n-1)])
		}
		for i := range n {
			s.written[rows[i].state]++
		}
		if err := s.conn.Raw(func(any) error { return s.run() }); err != nil {
			return writing(err)
		}
		rows = rows[n:]
	}
	return nil
}

// run runs the statement. The driver does it in QueryContext, before the first row
// is asked for, and in fewer steps than in ExecContext.
func (s *sampleWriter) run() error {
	rows, err := s.stmt.QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	return rows.Close()
}

// set sets the arguments of the i-th row of the statement.
func (s *sampleWriter) set(i int, r *sample) {
	args := s.args[i*len(samplesTable.columns):]
	args[0].Value, args[1].Value = r.at, int64(r.series)
	args[2].Value, args[3].Value, args[4].Value = nil, nil, nil
	switch r.kind {
	case whole:
		args[2].Value = r.number
	case float:
		args[2].Value = math.Float64frombits(uint64(r.number)) //nolint:gosec // the bits
	}
	if r.text != nil {
		args[3].Value = *r.text
	}
	if r.session != noSession {
		args[4].Value = r.session
	}
	args[5].Value, args[6].Value = int64(r.state), int64(r.priority)
}
