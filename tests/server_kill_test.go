package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// TestNothingIsMissingAfterTheServerWasKilled kills a VictoriaMetrics with -9
// while samples go there: what it had acknowledged and not yet written is gone,
// and the shipper has to send it again. At last it is killed with nobody there to
// do so, which -verify must see and -repair must mend.
func TestNothingIsMissingAfterTheServerWasKilled(t *testing.T) {
	t.Parallel()
	vm := newVictoria(t)
	b := newBoard(t, vm.base, "", "")
	collector, shipper := b.start("metrics-collector"), b.start("metrics-shipper")
	const delivered = "SELECT count(*) FROM samples WHERE uploaded = 1"
	for turn := range fromEnv(t, "SERVER_KILLS", 4) {
		b.setCounters(turn + 2)
		before, _ := b.number(delivered)
		await(t, "samples to be delivered", func() bool {
			n, ok := b.number(delivered)
			return ok && n >= before+100
		})
		time.Sleep(time.Duration(rand.IntN(1500)) * time.Millisecond)
		vm.run.kill()
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		vm.start()
	}
	before, _ := b.number(delivered)
	await(t, "samples to be delivered after the last start", func() bool {
		n, ok := b.number(delivered)
		return ok && n > before
	})
	collector.stop()
	b.awaitAllSent(t)
	shipper.stop()
	log, err := os.ReadFile(shipper.log)
	if err != nil {
		t.Fatal(err)
	}
	again := strings.Count(string(log), "are sent again")
	if again == 0 {
		t.Error("nothing was sent again")
	}
	b.drain()
	count := mustBeThere(t, b.db, vm.base)
	verify(t, b, "", count, 0, 0)

	vm.run.kill()
	vm.start()
	kept, err := exportedSamples(vm.base, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d samples delivered, %d times some were sent again over the kills; killed once more the server lost %d that it had acknowledged", count, again, count-len(kept))
	if len(kept) == count {
		t.Skip("it had written everything; nothing to repair")
	}
	verify(t, b, "", count, count-len(kept), 0)
	verify(t, b, "-repair", count, 0, count-len(kept))
	verify(t, b, "", count, 0, 0)
	if n := mustBeThere(t, b.db, vm.base); n != count {
		t.Errorf("%d samples, were %d", n, count)
	}
}

// verify runs metrics-shipper -verify and requires what it prints.
func verify(t testing.TB, b *board, flag string, delivered, missing, sentAgain int) {
	t.Helper()
	args := []string{"-verify"}
	if flag != "" {
		args = append(args, flag)
	}
	out, exit := b.command("metrics-shipper", args...)
	want := fmt.Sprintf("delivered %d, missing %d, doubled 0, changed 0, sent again %d\n", delivered, missing, sentAgain)
	if !strings.HasSuffix(out, want) || (exit == 0) != (missing == 0) {
		t.Errorf("%q, exit status %d, printed\n%swant\n%s", args, exit, out, want)
	}
}
