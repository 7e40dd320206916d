package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/sallyport-go/auth"
)

// source says where the changes after the backup are read: from the database old, or from the file
// events.
type source struct {
	old, events string
	since       time.Time // the time at which the backup began
	github      string    // the host of the GitHub accounts
}

// eventsSince returns the events since the given time, the oldest first. If file is empty, they are
// read from the audit trail of the old database.
func (r *restoration) eventsSince(ctx context.Context, file string, since time.Time) ([]auth.Event, error) {
	if file != "" {
		return readEvents(file, since)
	}
	var events []auth.Event
	for before := ""; ; before = events[len(events)-1].ID {
		page, err := r.old.svc.Events(ctx, auth.EventFilter{Before: before}, 200)
		if err != nil {
			return nil, err
		}
		for _, event := range page {
			if event.At.Before(since) {
				slices.Reverse(events)
				return events, nil
			}
			events = append(events, event)
		}
		if len(page) < 200 {
			slices.Reverse(events)
			return events, nil
		}
	}
}

// readEvents reads JSON objects from a file, such as one from each line. An event of the audit trail
// can have been delivered more than once.
func readEvents(path string, since time.Time) ([]auth.Event, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var events []auth.Event
	seen := map[string]bool{}
	for decoder := json.NewDecoder(file); ; {
		var event auth.Event
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("-events: after %d bytes: %w", decoder.InputOffset(), err)
		}
		if !event.At.Before(since) && !seen[event.ID] {
			events = append(events, event)
		}
		seen[event.ID] = event.ID != "" // without an audit trail, no event has an ID
	}
	slices.SortStableFunc(events, func(a, b auth.Event) int { return a.At.Compare(b.At) })
	return events, nil
}
