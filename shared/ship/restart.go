package ship

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/status"
)

const (
	// maxHosts bounds the names of servers that are remembered.
	maxHosts = 16
	// ignoreAfter is the number of connections in a row that ended without an answer
	// after which another one is no sign: for a server that always behaves so it means nothing
	// by it. After as many signs in a row, what goes again waits.
	ignoreAfter = 3
	// awayFor is how long a proxy's answers in a row, that it does not reach the server,
	// are signs.
	awayFor = time.Hour
)

// restarts counts the signs that the server restarted. Signs are in a row if none
// came more than config.Unsettled after the one before.
//
// What is sent again can be lost again, so it is remembered like all else. After
// some signs in a row it therefore waits until the server has been up for a while,
// which grows with each sign: otherwise a server that restarts all the time would get
// everything since its first restart each time.
type restarts struct {
	ended int // connections in a row that ended without an answer

	consecutive int // signs in a row
	lastSign    time.Time

	away                bool      // a proxy answered that the server does not
	awaySince, lastAway time.Time // of such answers in a row
}

// sign counts a sign of a restart.
func (r *restarts) sign(now time.Time) {
	if now.Sub(r.lastSign) > config.Unsettled {
		r.consecutive = 0
	}
	r.consecutive++
	r.lastSign = now
}

// calm says whether the server has been up for long enough to get samples again.
func (r *restarts) calm(now time.Time) bool {
	if r.consecutive <= ignoreAfter {
		return true
	}
	wait := (unsettled + stretch) << min(r.consecutive-ignoreAfter-1, 8)
	return now.Sub(r.lastSign) >= min(wait, config.Unsettled)
}

// wasAway says whether a proxy could not reach the server, and forgets it. A server
// that is overloaded all the time gives the same answer, which means nothing after an
// hour.
func (r *restarts) wasAway(now time.Time) bool {
	if !r.away {
		return false
	}
	if now.Sub(r.lastAway) > config.Unsettled {
		r.awaySince = now
	}
	r.away, r.lastAway = false, now
	return now.Sub(r.awaySince) < awayFor
}

// connectionEnded says whether a connection that ended without an answer is a sign
// of a restart; dialled is the number of connections made since the last answer.
func (r *restarts) connectionEnded(ended bool, dialled int64) bool {
	switch {
	case ended:
		r.ended++
		return r.ended <= ignoreAfter
	case dialled == 0:
		r.ended = 0
	}
	return false
}

// resume continues with what an earlier run left. If it had samples to send again, the
// next sign is in a row with its signs.
func (s *replay) resume(left status.Settling) {
	s.Settling = left
	if len(left.Again) > 0 {
		s.restarts.consecutive, s.restarts.lastSign = ignoreAfter, time.Now()
	}
}

// afterRestart continues where an earlier run may have missed a sign: samples that were
// not settled are sent again.
func (s *replay) afterRestart() {
	s.sendAgain()
	s.restarts.sign(time.Now())
}

// watchServer looks for signs that the server restarted since its last answer, and
// puts the samples that it may have lost among those to be sent again.
func (s *Shipper) watchServer(host string, ended bool) {
	cause := s.restartCause(host, ended)
	if cause == "" {
		return
	}
	signs := &s.replay.restarts
	signs.sign(time.Now())
	if len(s.replay.Recent) == 0 {
		return
	}
	s.replay.sendAgain()
	level := slog.LevelInfo
	if signs.consecutive > ignoreAfter {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "the server may have restarted; samples that it accepted in the minutes before are sent again", "cause", cause, "host", host)
}

// restartCause names the sign of a restart, "" if there is none: nothing listened, a
// connection ended without an answer before the request, or the answer names
// another host.
func (s *Shipper) restartCause(host string, ended bool) (cause string) {
	r, l := &s.replay.restarts, s.client.link
	if l.refused.Swap(false) {
		cause = "nothing listened for a while"
	}
	if r.wasAway(time.Now()) {
		cause = "a proxy did not reach the server for a while"
	}
	dialled := int64(0)
	if !ended {
		dialled = l.dials.Swap(0)
	}
	if r.connectionEnded(ended, dialled) {
		cause = "a connection ended without an answer"
	}
	if host != "" && !slices.Contains(s.replay.Hosts, host) {
		if len(s.replay.Hosts) > 0 {
			cause = "another host answers"
		}
		s.replay.Hosts = append(s.replay.Hosts, host)
		s.replay.Hosts = s.replay.Hosts[max(0, len(s.replay.Hosts)-maxHosts):]
	}
	return cause
}
