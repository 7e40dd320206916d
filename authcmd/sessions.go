package authcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sallyport-go/auth"
	"github.com/sallyport-go/auth/eventkind"
)

// shownSession is the JSON of a session.
type shownSession struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user_id"`
	Method    string    `json:"method"`
	AccessKey string    `json:"access_key,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
	UserAgent string    `json:"user_agent,omitempty"`
	Address   string    `json:"ip,omitempty"`
	Audience  string    `json:"audience,omitempty"`
}

func runSessionList(ctx context.Context, c *call) error {
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	sessions, err := c.Store.ListSessions(ctx, user.ID, c.now())
	if err != nil {
		return err
	}
	table := c.table("ID", "METHOD", "CREATED", "EXPIRES", "ADDRESS", "USER AGENT")
	for _, s := range sessions {
		table.add(shownSession{s.ID, s.UserID, string(s.Method), s.AccessKeyID, s.CreatedAt, s.ExpiresAt,
			s.UserAgent, s.Address, s.Audience},
			s.ID, string(s.Method), date(s.CreatedAt), date(s.ExpiresAt), s.Address, s.UserAgent)
	}
	return table.end()
}

func runSessionRevoke(ctx context.Context, c *call) error {
	id := c.args[0]
	err := c.Service.Tokens().Revoke(ctx, authority, id)
	if errors.Is(err, auth.ErrNotFound) {
		return errors.New("there is no such session; 'session list USER' lists those of a user")
	}
	if err != nil {
		return err
	}
	return c.changed(map[string]string{"revoked_session_id": id}, "revoked the session %s", id)
}

func runSessionRevokeAll(ctx context.Context, c *call) error {
	user, err := c.findUser(ctx, c.args[0])
	if err != nil {
		return err
	}
	revoked, err := c.Service.Tokens().RevokeUser(ctx, authority, user.ID)
	if err != nil {
		return err
	}
	return c.changed(map[string]int{"revoked_count": revoked}, "revoked %s of %s",
		counted(revoked, "session"), described(user))
}

func runRevokeEverybody(ctx context.Context, c *call) error {
	if err := c.confirm(ctx, "Revoke-everybody revokes all sessions of all users."); err != nil {
		return err
	}
	if err := c.Service.RevokeEverybody(ctx, authority); err != nil {
		return err
	}
	return c.changed(map[string]bool{"revoked_everybody": true}, "revoked all sessions of all users")
}

func runPrune(ctx context.Context, c *call) error {
	removed, err := c.Service.Prune(ctx)
	if err != nil && removed == 0 {
		return err
	}
	if err != nil {
		return fmt.Errorf("removed %s before this error; run prune again to remove the others: %w",
			counted(removed, "record"), err)
	}
	return c.changed(map[string]int{"removed_count": removed}, "removed %s", counted(removed, "record"))
}

// maxEventPage is the maximum limit of [auth.Service.Events].
const maxEventPage = 200

func runEvents(ctx context.Context, c *call) error {
	if c.options.number < 1 {
		return usageError{c.command.name, "-n must be at least 1"}
	}
	filter := auth.EventFilter{Kind: eventkind.Kind(c.options.kind)}
	for _, bound := range []struct {
		flag, text string
		at         *time.Time
	}{{"-from", c.options.from, &filter.From}, {"-to", c.options.to, &filter.To}} {
		at, ok := parseTime(bound.text)
		if !ok && bound.text != "" {
			return usageError{c.command.name,
				bound.flag + " must be a time such as 2027-01-31T12:00:00Z, or a date such as 2027-01-31"}
		}
		*bound.at = at
	}
	if invalid, ok := errors.AsType[*auth.InvalidError](filter.Validate()); ok {
		return usageError{c.command.name, "-" + invalid.Field + " " + invalid.Reason}
	}
	var err1, err2 error
	filter.UserID, err1 = c.userID(ctx, c.options.user)
	filter.ActorID, err2 = c.userID(ctx, c.options.actor)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	table := c.table("TIME", "KIND", "USER", "BY", "ACCESS KEY", "REASON")
	for left := c.options.number; left > 0; {
		page, err := c.Service.Events(ctx, filter, min(left, maxEventPage))
		if err != nil {
			return err
		}
		for _, e := range page {
			by := e.ActorID
			if e.Host != "" {
				by = strings.TrimSpace(e.Host + " " + e.Client.UserAgent)
			}
			table.add(e, date(e.At), string(e.Kind), e.UserID, by, e.AccessKey, e.Reason)
		}
		if len(page) < min(left, maxEventPage) || table.err != nil {
			break
		}
		left -= len(page)
		filter.Before = page[len(page)-1].ID
	}
	return table.end()
}

// imported is the JSON of an import.
type imported struct {
	Added    int `json:"added"`
	Present  int `json:"present"`
	Rejected int `json:"rejected"`
}

func runImport(ctx context.Context, c *call) error {
	if !c.Config.Credentials.AllowImported {
		return errors.New("import needs Credentials.AllowImported in the configuration: nothing was " +
			"changed")
	}
	lines, size := c.input(ctx), int64(0)
	if name := c.args[0]; name != "-" {
		file, err := await(ctx, func() (*os.File, error) { return os.Open(name) })
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		lines, size = interruptible{ctx, file}, info.Size() // the file can be a pipe
	} else if isTerminal(c.stdio.In) {
		fmt.Fprintln(c.stdio.Err, "Type or paste the lines, then press Ctrl-D:")
	}
	bar := progressBar{out: c.stdio.Err, size: size, shown: isTerminal(c.stdio.Err)}
	progress, err := c.Service.ImportUsers(ctx, authority, lines, auth.ImportOptions{
		VouchForSHA256: c.options.vouch,
		BatchSize:      c.options.batch,
		OnRejected: func(line int, err error) {
			bar.clear()
			fmt.Fprintf(c.stdio.Err, "line %d: %s\n", line, message(err))
		},
		OnProgress: bar.show,
	})
	bar.clear()
	report := c.result
	if progress.Added > 0 {
		report = c.changed
	}
	written := report(imported{progress.Added, progress.Present, progress.Rejected},
		"added %s; %d were present; %d lines were "+
			"rejected", counted(progress.Added, "user"), progress.Present,
		progress.Rejected)
	switch {
	case err != nil:
		return fmt.Errorf("the import is not complete: run the same command again to continue: %w", err)
	case progress.Rejected > 0:
		return fmt.Errorf("%s rejected: correct the lines and run the same command again",
			counted(progress.Rejected, "line"))
	}
	return written
}

// progressBar shows the progress of an import in a terminal.
type progressBar struct {
	out   io.Writer
	size  int64 // of the file, in bytes; zero if not known
	shown bool  // false in a pipe
}

// barWidth is small, because a line that is longer than that of the terminal cannot be drawn again.
const barWidth = 10

// show draws the bar in the present line of the terminal.
func (b progressBar) show(progress auth.ImportProgress) {
	if !b.shown {
		return
	}
	if b.size <= 0 {
		fmt.Fprintf(b.out, "\r\x1b[K%d lines, %s added", progress.Lines, counted(progress.Added, "user"))
		return
	}
	done := min(float64(progress.Bytes)/float64(b.size), 1)
	full := int(done * barWidth)
	fmt.Fprintf(b.out, "\r\x1b[K[%s%s] %3.0f %%, %s added", strings.Repeat("#", full),
		strings.Repeat(" ", barWidth-full), done*100, counted(progress.Added, "user"))
}

// clear removes the bar, so that another line can be written.
func (b progressBar) clear() {
	if b.shown {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
}
