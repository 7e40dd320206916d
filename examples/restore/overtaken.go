package main

import (
	"slices"
	"strings"

	"github.com/sallyport-go/auth"
)

// change is an event since the backup.
type change struct {
	auth.Event

	// overtaken is true if a later event has taken the result of the event away again. A person need
	// not act on such an event. The program repeats it nevertheless, because the later event may be
	// false, or impossible to repeat.
	overtaken bool

	// undone has the parts of Reason that later events have taken away again, such as
	// "is_active=true".
	undone []string
}

// changesOf returns the events with what later events have done to them.
func changesOf(events []auth.Event) []change {
	changes := make([]change, len(events))
	later := map[string]bool{}
	for i, event := range slices.Backward(events) {
		c := change{Event: event}
		user := "user " + event.UserID + " "
		key := "key " + event.AccessKey + " "
		deleted := later[user+"deleted"]
		gone := deleted || later[user+"reset"]
		switch event.Kind {
		case auth.EventUserCreated, auth.EventBootstrapped, auth.EventKeyImported, auth.EventUserChanged:
			c.overtaken = deleted
		case auth.EventKeyIssued:
			c.overtaken = gone || later[key+"revoked"]
		case auth.EventKeyRotated:
			c.overtaken = gone || later[key+"revoked"] || later[key+"rotated"]
			later[key+"rotated"] = true
		case auth.EventKeyRevoked, auth.EventKeyLeaked:
			later[key+"revoked"] = event.AccessKey != imported
		case auth.EventGitHubConnected, auth.EventGitHubRefreshed:
			c.overtaken = gone || later[user+"unlinked"]
		case auth.EventGitHubUnlinked:
			later[user+"unlinked"] = true
		case auth.EventUserReset, auth.EventSuperUserRecovered:
			c.overtaken = gone
			later[user+"reset"] = true
		case auth.EventUserDeleted:
			later[user+"deleted"] = true
		}
		for _, part := range strings.Fields(event.Reason) {
			field, isTrue := strings.CutSuffix(part, "=true")
			if isTrue && later[user+field] {
				c.undone = append(c.undone, part)
			} else if field, isFalse := strings.CutSuffix(part, "=false"); isFalse {
				later[user+field] = event.Kind == auth.EventUserChanged
			}
		}
		changes[i] = c
	}
	return changes
}
