// Package mutation checks the tests: it builds the product with a fault planted in
// it, and the tests that must find this fault have to fail.
package mutation

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A mutation is one fault, planted by replacing text that a file has once.
type mutation struct {
	name     string
	file     string // from the root of the module
	old, new string
	pkg      string // whose tests must fail, and which of them
	run      string
	env      []string
	always   bool // also without MUTATION=all
}

const (
	kills    = "TestNothingIsLostOrDoubledOverKills"
	serverIs = "TestNothingIsMissingAfterTheServerWasKilled"
)

// A fault that the kill tests can find shows within these few rounds.
var few = []string{"CRASH_ROUNDS=40", "CRASH_SEED=1", "SERVER_KILLS=2"}

const (
	markBeforeSend    = "\tr := &request{c: c, index: b.requests, ended: "
	markBeforeSendNew = "\tif err := s.acknowledge(ctx, b, c.sent, b.requests); err != nil {\n\t\tpanic(err)\n\t}\n" + markBeforeSend
	appendLine        = "\t\tc.plain = vmjson.Append("
	// A value of each line, and the whole second line where lines have one value each.
	skipRow = "\t\tif len(e.values) > 1 {\n\t\t\te.values, e.times = e.values[1:], e.times[1:]\n\t\t} else if len(c.lines) == 1 {\n" +
		"\t\t\tc.lines, start = append(c.lines, end-start), end\n\t\t\tcontinue\n\t\t}\n" + appendLine
	sendAgain    = "s.Again = atMost(union(append(s.Again, s.Recent...), 0), maxAgain)"
	liveFirst    = "\tif err := s.sendNewest(ctx, b, border, small); err != nil || small {\n\t\treturn err\n\t}\n"
	backlogFirst = "\tif !small {\n\t\tif err := s.sendBacklog(ctx, b, border); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n" + liveFirst
)

var mutations = []mutation{
	{
		name: "mark before send", file: "shared/ship/request.go", old: markBeforeSend, new: markBeforeSendNew,
		pkg: "./shared/ship", run: "TestFaultsOfTheServerLoseNothingAndEndWithThem", always: true,
	},
	{
		name: "mark before send", file: "shared/ship/request.go", old: markBeforeSend, new: markBeforeSendNew,
		pkg: "./tests", run: kills, env: few,
	},
	{
		name: "take the first request for all that was pending", file: "shared/ship/lanes.go", old: "all, settled := b.short && since == math.MinInt64,", new: "all, settled := true,",
		pkg: "./shared/ship", run: "TestARoundThatSentEverythingPendingLooksForNoMore",
	},
	{
		name: "follow a redirect", file: "shared/ship/client.go", old: "c.transport.RoundTrip(req.WithContext(limited))",
		new: "(&http.Client{Transport: c.transport}).Do(req.WithContext(limited))",
		pkg: "./shared/ship", run: "TestFaultsOfTheServerLoseNothingAndEndWithThem", always: true,
	},
	{
		name: "skip a row of a request", file: "shared/ship/encode.go", old: appendLine, new: skipRow,
		pkg: "./shared/ship", run: "TestBodyIsNeverOverTheLimitAndNothingIsLeftOut", always: true,
	},
	{
		name: "skip a row of a request", file: "shared/ship/encode.go", old: appendLine, new: skipRow,
		pkg: "./tests", run: kills, env: few,
	},
	{
		name: "skip a row of the backlog", file: "shared/store/queue.go",
		old: "\t\t\tlast := into[len(into)-1]\n\t\t\tat.started", new: "\t\t\tlast := into[len(into)-1]\n\t\t\tif !oldestFirst {\n\t\t\t\tlast.TimeMs--\n\t\t\t}\n\t\t\tat.started",
		pkg: "./shared/store", run: "TestBacklogGoesByPriorityThenByTime",
	},
	{
		name: "do not close the gzip stream", file: "shared/ship/encode.go", old: "e.gz.Close()", new: "e.gz.Flush()",
		pkg: "./shared/ship", run: "TestRequestIsOneLineForEachSeriesWithTheHeaders", always: true,
	},
	{
		name: "do not close the gzip stream", file: "shared/ship/encode.go", old: "e.gz.Close()", new: "e.gz.Flush()",
		pkg: "./tests", run: kills, env: few,
	},
	{
		name: "ignore a busy checkpoint", file: "shared/store/wal.go", old: "case busy != 0:", new: "case busy < 0:",
		pkg: "./shared/store", run: "TestAReaderThatStaysIsDetectedAndSurvived", always: true,
	},
	{
		name: "do not report a busy checkpoint", file: "shared/upkeep/checkpoint.go", old: "if c.Busy {", new: "if c.Busy && c.Frames < 0 {",
		pkg: "./shared/upkeep", run: "TestAReaderThatPinsTheWALIsReportedAndSurvived",
	},
	{
		name: "mark more than was accepted", file: "shared/ship/request.go", old: "c.rows[:r.first]", new: "c.rows",
		pkg: "./shared/ship", run: "TestPartOfAChunkIsMarkedAsTheAnswerSays",
	},
	{
		name: "count one delivery too few in the ledger", file: "shared/store/acknowledge.go", old: `map[string]int{"delivered": marked}`, new: `map[string]int{"delivered": marked - 1}`,
		pkg: "./tests", run: kills, env: few,
	},
	{
		name: "reject a row although the server rejects everything", file: "shared/ship/canary.go", old: "\terr = fmt.Errorf(\"%s answers HTTP %d to everything%s\"",
		new: "\tif b.id != \"\" {\n\t\treturn nil\n\t}\n\terr = fmt.Errorf(\"%s answers HTTP %d to everything%s\"",
		pkg: "./shared/ship", run: "TestFaultsOfTheServerLoseNothingAndEndWithThem",
	},
	{
		name: "send again before Retry-After has passed", file: "shared/ship/pacing.go", old: "wait = max(wait, f.wait)", new: "wait = max(wait, 0)",
		pkg: "./shared/ship", run: "TestFaultsOfTheServerLoseNothingAndEndWithThem",
	},
	{
		name: "do not send again what a restarted server may have lost", file: "shared/ship/replay.go", old: sendAgain, new: "s.Again = nil",
		pkg: "./shared/ship", run: "TestSamplesThatARestartedServerMayHaveLostAreSentAgain",
	},
	{
		name: "do not send again what a restarted server may have lost", file: "shared/ship/replay.go", old: sendAgain, new: "s.Again = nil",
		pkg: "./tests", run: serverIs, env: few,
	},
	{
		name: "reject by a clock that nothing confirms", file: "shared/ship/times.go", old: "\t\treturn timeUnknown, err\n\t}\n\tclock,", new: "\t\treturn time.Now().UnixMilli(), err\n\t}\n\tclock,",
		pkg: "./shared/ship", run: "TestAWrongClockRejectsNoSample",
	},
	{
		name: "treat the end of another connection as a restart of the server", file: "shared/ship/skew.go", old: "if k.url.Host != c.url.Host {", new: "if k.url.Host == \"\" {",
		pkg: "./shared/ship", run: "TestAnotherClockServerIsNoSignOfARestart",
	},
	{
		name: "send the token to another clock server", file: "shared/ship/client.go", old: "if to.Host == c.url.Host && to.Scheme == c.url.Scheme {", new: "if to.Host != \"\" {",
		pkg: "./shared/ship", run: "TestAnotherClockServerGetsNoToken",
	},
	{
		name: "unpack answers of any size", file: "shared/ship/client.go", old: "io.ReadAll(io.LimitReader(packed, maxAnswerBytes+1))", new: "io.ReadAll(packed)",
		pkg: "./shared/ship", run: "TestMemoryStaysFlatOverEndlessAnswers",
	},
	{
		name: "send requests of any size", file: "shared/ship/lanes.go", old: "s.pacing.budget.chunkBytes(), rule)", new: "math.MaxInt, rule)",
		pkg: "./shared/ship", run: "TestNoRequestIsOverTheLimit",
	},
	{
		name: "reject without a canary between", file: "shared/ship/isolate.go", old: "\tif err := s.canary(ctx, b, r); err != nil {\n\t\treturn err\n\t}\n\tvar confirmed", new: "\tvar confirmed",
		pkg: "./shared/ship", run: "TestASampleIsRejectedOnlyIfOthersAreAcceptedBeforeBetweenAndAfter",
	},
	{
		name: "reject without a canary after", file: "shared/ship/isolate.go", old: "\tif err := s.canary(ctx, b, r); err != nil {\n\t\treturn err\n\t}\n\tif len(s.search.badSeries)", new: "\tif len(s.search.badSeries)",
		pkg: "./shared/ship", run: "TestASampleIsRejectedOnlyIfOthersAreAcceptedBeforeBetweenAndAfter",
	},
	{
		name: "ignore the rate limit", file: "shared/ship/budget.go", old: "if b.tokens >= 0 {", new: "if b.tokens != 0.5 {",
		pkg: "./shared/ship", run: "TestRateIsKeptOverManyRequests",
	},
	{
		name: "salvage nothing", file: "shared/salvage/salvage.go", old: "if !s.known.Nothing {", new: "if s.known.Nothing {",
		pkg: "./shared/repair", run: "FuzzADamagedDatabaseIsSalvagedOrRefused",
	},
	{
		name: "count pages that the device fails to read as lost", file: "shared/repair/salvage.go", old: "case r.Unreadable == 0 && r.Broken == 0 ||", new: "case r.Unreadable >= 0 && r.Broken >= 0 ||",
		pkg: "./shared/repair", run: "TestPagesThatADeviceFailsToReadForAMomentAreNotLost",
	},
	{
		name: "open an empty database beside its WAL", file: "shared/store/guard.go", old: "info.Size() == 0 && hasBytes(", new: "info.Size() < 0 && hasBytes(",
		pkg: "./shared/repair", run: "TestADatabaseOf0BytesIsLeftToTheCollector",
	},
	{
		name: "write into a WAL that was cut", file: "shared/store/fault.go", old: "if wal.Size() < before {", new: "if wal.Size() < min(before, 0) {",
		pkg: "./shared/repair", run: "TestAFileEmptiedWhileOpenIsSavedOrCounted",
	},
	{
		name: "trust a file of which only the time has changed", file: "shared/store/overwritten.go", old: "now != g.written && now", new: "now.size != g.written.size && now",
		pkg: "./shared/repair", run: "TestACopyOverTheOpenDatabaseIsDetectedBeforeTheNextTransaction",
	},
	{
		name: "forget the counts of the database", file: "shared/repair/history.go", old: "captured := last.Captured - now.Captured", new: "captured := now.Captured - now.Captured",
		pkg: "./shared/repair", run: "TestAnEmptyFileAtTheStartIsNotBelieved",
	},
	{
		name: "make a database on the disk below a mount point", file: "shared/repair/place.go", old: "now != mount && isBelow(mount, now)", new: "now == mount && now == \"\"",
		pkg: "./shared/repair", run: "TestNoDatabaseIsMadeOnTheDiskBelowAMountPointThatWentAway",
	},
	{
		name: "send the backlog before new samples", file: "shared/ship/lanes.go", old: liveFirst, new: backlogFirst,
		pkg: "./shared/ship", run: "TestNewestGoesFirstThenTheBacklogByPriority",
	},
	{
		name: "send the backlog before new samples", file: "shared/ship/lanes.go", old: liveFirst, new: backlogFirst,
		pkg: "./tests", run: "TestNewSamplesAreSentBeforeTheBacklog/started",
	},
	{
		name: "trust any server that answers 204", file: "shared/ship/endpoint.go", old: "\treturn unproven\n", new: "\treturn shown\n",
		pkg: "./shared/ship", run: "TestOnlyAnAnswerOfAProvenServerDelivers",
	},
	{
		name: "reject by a single Date", file: "shared/ship/times.go", old: "\treturn hold, nil\n", new: "\treturn refuse, err\n",
		pkg: "./shared/ship", run: "TestAWrongDateHoldsUntilItIsConfirmedAndWhatItRejectedComesBack",
	},
	{
		name: "set no deadline on the connection", file: "shared/ship/link.go", old: "\t\tl.conn.SetDeadline(deadline)", new: "\t\tl.conn.SetDeadline(time.Time{})",
		pkg: "./shared/ship", run: "TestAConnectionEndsWithItsDeadline",
	},
	{
		name: "end the daemon at the first error", file: "shared/daemon/loop.go", old: "errors.As(err, &fatal) {", new: "errors.As(err, &fatal) || err != nil {",
		pkg: "./tests", run: "TestAFrozenDaemonStopsNoOtherAndLosesNothing",
	},
}

// TestEveryPlantedFaultIsFound plants the faults one after the other: with
// MUTATION=all all of them, with a part of a name those that have it, otherwise
// the few whose tests are quick.
func TestEveryPlantedFaultIsFound(t *testing.T) {
	want := os.Getenv("MUTATION")
	if want == "" && testing.Short() {
		t.Skip("builds the product once for each fault")
	}
	sound := map[string]error{} // results of the tests without a fault, by package and test
	var table strings.Builder
	found, planted := 0, 0
	for _, m := range mutations {
		if want == "" && !m.always || want != "" && want != "all" && !strings.Contains(m.name, want) {
			continue
		}
		planted++
		begun := time.Now()
		if want != "" {
			key := m.pkg + m.run
			if _, known := sound[key]; !known {
				sound[key] = m.baseline(t)
			}
			if sound[key] != nil {
				t.Errorf("%s: fails also without the fault: %v", m.name, sound[key])
				continue
			}
		}
		killer, err := m.plant(t)
		switch {
		case err != nil:
			t.Errorf("%s: %v", m.name, err)
			killer = "NOT FOUND"
		default:
			found++
		}
		fmt.Fprintf(&table, "%-62s %-30s %-90s %.0fs\n", m.name, m.file, killer, time.Since(begun).Seconds())
	}
	t.Logf("planted %d, found %d\n%s", planted, found, table.String())
}

// TestTheTextThatAMutationReplacesIsInItsFileOnce checks that the text that each fault replaces is in its
// file, once.
func TestTheTextThatAMutationReplacesIsInItsFileOnce(t *testing.T) {
	for _, m := range mutations {
		text, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %s has the text to replace %d times: correct the mutation\n%s", m.name, m.file, n, m.old)
		}
	}
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// plant runs the tests on the product with the fault and returns the name of the
// one that failed first.
func (m mutation) plant(t *testing.T) (killer string, err error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	file := filepath.Join(root, m.file)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("%s has the text to replace %d times: correct the mutation\n%s", m.file, n, m.old)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o640); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o640); err != nil {
		return "", err
	}
	// In the environment, as the tests build the programs themselves.
	out, err := m.test(t, "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)
	first := failed.FindSubmatch(out)
	switch {
	case err == nil:
		return "", fmt.Errorf("%s %s passes with the fault", m.pkg, m.run)
	case first != nil:
		return m.pkg + " " + string(first[1]), nil
	case strings.Contains(string(out), "panic: test timed out"):
		return m.pkg + " " + m.run + " (ran out of time)", nil
	default:
		return "", fmt.Errorf("%s %s did not run:\n%s", m.pkg, m.run, out[:min(len(out), 2000)])
	}
}

// baseline runs the tests on the product as it is.
func (m mutation) baseline(t *testing.T) error {
	out, err := m.test(t)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out[:min(len(out), 2000)])
	}
	if strings.Contains(string(out), "no tests to run") {
		return fmt.Errorf("%s has no test %s", m.pkg, m.run)
	}
	return nil
}

func (m mutation) test(t *testing.T, env ...string) (output []byte, err error) {
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-failfast", "-vet=off", "-timeout=3m", "-run=^"+m.run, m.pkg)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(append(os.Environ(), m.env...), env...)
	return cmd.CombinedOutput()
}
