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
	// keptWAL is the length that an emptied WAL file keeps: about two hours of
	// collecting.
	keptWAL = 16 * miB
	// tightWAL is the length at which the WAL is emptied while the filesystem is short
	// of room.
	tightWAL = 4 * miB
)

// figures are the sizes of the files and of the filesystem, and the limits that
// follow from them.
type figures struct {
	sizes store.Sizes
	room  store.PageUse
	free  int64 // bytes on the filesystem
	want  int64 // bytes that should be free; 0: no limit

	limit    int64  // bytes that the rows may take
	reason   string // of the limit: status.LostSizeLimit or status.LostLowSpace
	walLimit int64  // length of the WAL at which it is emptied
	walKept  int64  // length that its file keeps then
}

// short is how many bytes less than wanted are free.
func (f figures) short() int64 { return max(0, f.want-f.free) }

func (k *Keeper) measure(ctx context.Context) (f figures, err error) {
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

// decide divides storage.max_size_mb between the rows and the WAL, which gets at most
// a quarter. When the filesystem is short of room, the rows get less, but at least
// an eighth of storage.max_size_mb: deleting more would free little and cost all of
// the past.
func (f *figures) decide(maxSize, walSize int64) {
	f.walLimit = min(walSize, maxSize/4)
	f.limit, f.reason = maxSize-f.walLimit, status.LostSizeLimit
	if f.want > 0 {
		// The sum of these stays the same while the files grow or shrink.
		wal := min(tightWAL, f.walLimit)
		left := f.sizes.Database + f.sizes.WAL + f.free - f.want - wal
		if !f.room.Returnable {
			// The file cannot shrink: deleting rows from it frees nothing.
			left = max(left, f.room.Pages*f.room.PageSize)
		}
		if left < f.limit {
			f.limit, f.reason = max(left, maxSize/8), status.LostLowSpace
		}
		if f.short() > 0 {
			f.walLimit = wal
		}
	}
	f.walKept = min(keptWAL, f.walLimit/2)
}
