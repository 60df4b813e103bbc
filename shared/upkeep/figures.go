package upkeep

import (
	"context"
	"math"
	"path/filepath"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

const (
	miB = 1 << 20
	// keptWAL is the length that the file of an emptied WAL keeps: about what two
	// hours of collecting fill.
	keptWAL = 16 * miB
	// tightWAL is where the WAL is emptied while the filesystem is short of room.
	tightWAL = 4 * miB
)

// figures are one look at the files, and what follows from it.
type figures struct {
	sizes store.Sizes
	room  store.PageUse
	free  int64 // on the filesystem
	want  int64 // of that, should be free; 0: does not matter

	limit    int64  // bytes that rows may take
	reason   string // what sets the limit: status.LostSizeLimit or status.LostLowSpace
	logLimit int64  // bytes of the log at which it is emptied
	logKept  int64  // length that its file keeps then
}

// short is how many bytes too few are free.
func (f figures) short() int64 { return max(0, f.want-f.free) }

func (k *Keeper) look(ctx context.Context) (f figures, err error) {
	if f.sizes, err = k.db.Sizes(); err != nil {
		return f, err
	}
	if f.room, err = k.db.PageUse(ctx); err != nil {
		return f, err
	}
	if k.cfg.MinFreeMB > 0 {
		space, err := hostfs.Filesystem(filepath.Dir(k.db.Path()))
		if err != nil {
			return f, err
		}
		f.free, f.want = int64(min(space.Available, math.MaxInt64)), int64(k.cfg.MinFreeMB)*miB
	}
	f.decide(int64(k.cfg.MaxSizeMB)*miB, int64(k.cfg.WALCheckpointSizeMB)*miB)
	return f, nil
}

// decide divides what the database may take between the rows and the log. The
// log has a quarter at most, so that both together stay within the bound. When
// the filesystem is short of room, the rows make way for others', but keep an
// eighth of the bound: giving up more would cost the past and gain little.
func (f *figures) decide(maxSize, logSize int64) {
	f.logLimit = min(logSize, maxSize/4)
	f.limit, f.reason = maxSize-f.logLimit, status.LostSizeLimit
	if f.want > 0 {
		// The sum stays the same while bytes go from one to the other.
		log := min(tightWAL, f.logLimit)
		left := f.sizes.Database + f.sizes.WAL + f.free - f.want - log
		if !f.room.Returnable {
			// What the file has it keeps; to delete rows from it frees nothing.
			left = max(left, f.room.Pages*f.room.PageSize)
		}
		if left < f.limit {
			f.limit, f.reason = max(left, maxSize/8), status.LostLowSpace
		}
		if f.short() > 0 {
			f.logLimit = log
		}
	}
	f.logKept = min(keptWAL, f.logLimit/2)
}
