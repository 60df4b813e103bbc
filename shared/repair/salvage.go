package repair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/taniwha3/thugshells/shared/hostfs"
	"github.com/taniwha3/thugshells/shared/salvage"
	"github.com/taniwha3/thugshells/shared/status"
	"github.com/taniwha3/thugshells/shared/store"
)

// damageRow is the status row that reports damage to health.
func damageRow(text string, d status.Damage) status.Row {
	return status.Row{
		Component: status.DamageRow, Daemon: status.StorageRow, State: status.Stopped, StartedMs: d.DamagedMs,
		Error: text[:min(len(text), store.MaxWords)], ErrorMs: d.DamagedMs, SuccessBootMs: -1, Detail: status.Text(d),
	}
}

// replaceDamaged copies the readable rows of the file at the path into a new one,
// keeps the damaged file under another name, and attaches the database to the new
// one.
func (o *Owner) replaceDamaged(ctx context.Context, cause error) error {
	start := time.Now()
	o.log.Error("the database is damaged; its readable rows are copied into a new file, the damaged file is kept",
		"database", o.path, "cause", causeText(cause))
	if free, err := hostfs.FreeBytes(o.path); err == nil && free < sizeOf(o.path)+o.keepFree {
		if _, err := removeBallast(o.path); err != nil {
			o.log.Warn("the ballast file could not be released before the salvage", "error", err)
		}
	}
	part, kept := o.path+unfinishedSuffix, keptName(o.path, start)
	report, err := o.salvage(ctx, part, func(r salvage.Report) status.Row { return salvagedRow(cause, r, kept) })
	if err == nil && report.Halted != "" {
		o.tries.cleared = 0
		if o.verify(ctx, true) == nil {
			o.log.Warn("there is no room or time to rewrite the database; the full integrity check passed, so it stays in use",
				"database", o.path, "halted", report.Halted)
			return removeAll(part)
		}
	}
	if err == nil {
		err = syncAndRename(part, o.path+salvagedSuffix)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("salvage the damaged database: %w", err), removeAll(part))
	}
	if err := keepDamaged(o.path, kept, parts[:]...); err != nil {
		return err
	}
	if err := o.installSalvaged(); err != nil {
		return err
	}
	o.log.Warn("the database was salvaged", "database", o.path, "salvaged", report.Samples, "lost", lostText(report.Lost), "kept", kept,
		"duration_ms", time.Since(start).Milliseconds(), "halted", report.Halted, "pages", report.Pages,
		"pages_unreadable", report.Unreadable, "pages_broken", report.Broken, "frames_behind_damage", report.BehindWAL)
	o.reopening.installed = true
	o.reopening.pagesOnly = report.Lost == nil && !errors.Is(cause, store.ErrWALCut)
	o.db.ResetFaults()
	return o.verifySalvaged(ctx)
}

// salvagedRow is the status row that reports a salvage to health.
func salvagedRow(cause error, r salvage.Report, kept string) status.Row {
	text := fmt.Sprintf("the database was damaged (%s); %d samples were salvaged, lost: %s; the damaged file is kept as %s",
		causeText(cause), r.Samples, lostText(r.Lost), kept)
	return damageRow(text, status.Damage{DamagedMs: r.At.UnixMilli(), Salvaged: r.Samples, Lost: r.Lost, Kept: kept, Halted: r.Halted})
}

// causeText is the cause of a repair, without the words "the database is damaged".
func causeText(cause error) string {
	return strings.TrimPrefix(cause.Error(), store.ErrDamaged.Error()+": ")
}

func lostText(lost *int64) string {
	if lost == nil {
		return "unknown"
	}
	return fmt.Sprint(*lost)
}

// verifySalvaged checks the new file.
func (o *Owner) verifySalvaged(ctx context.Context) error {
	err := o.verify(ctx, false)
	switch {
	case err == nil:
		o.tries.salvages, o.tries.cleared, o.tries.unreadable = 0, 0, 0
	case store.CannotRead(err):
		o.tries.unreadable++
	// Another error, such as a full disk, is not about the contents of the file.
	case isDamage(err):
		o.tries.salvages++
	}
	return err
}

// copyTries bounds the salvages of one file until two give the same result.
const copyTries = 4

// salvage writes the new file. It is repeated until all pages were read, or until two
// salvages failed to read the same number of pages: otherwise pages that the device
// cannot read for a moment would be lost.
func (o *Owner) salvage(ctx context.Context, part string, note func(salvage.Report) status.Row) (salvage.Report, error) {
	known := salvage.Known{
		Device: o.db.Options().Device, Series: o.db.KnownSeries(), Limit: salvageLimit, KeepFree: o.keepFree,
		Nothing: o.tries.salvages >= salvageTries-1, Note: note,
	}
	var before *salvage.Report
	for range copyTries {
		r, err := salvage.Run(ctx, o.path, part, known)
		switch {
		case err != nil:
			return r, err
		case r.Unreadable == 0 && r.Broken == 0 || r.Halted != "" || o.tries.unreadable >= unreadableLimit,
			before != nil && r.Unreadable == before.Unreadable && r.Broken == before.Broken && r.Samples == before.Samples:
			return r, nil
		}
		if err := o.readAll(ctx, o.path); err != nil {
			return r, err
		}
		before = &r
	}
	return salvage.Report{}, fmt.Errorf("%w: two reads of the database gave different results; the storage device is unreliable", store.ErrDevice)
}

// sizeOf is the length of a file and its WAL.
func sizeOf(path string) (size int64) {
	for _, part := range []string{"", "-wal"} {
		if info, err := os.Stat(path + part); err == nil {
			size += info.Size()
		}
	}
	return size
}
