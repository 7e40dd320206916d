package auth

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sallyport-go/auth/internal/callback"
)

// ImportOptions says how [Service.ImportUsers] works. The zero value is a good choice.
type ImportOptions struct {
	// VouchForSHA256 accepts lines with a bare SHA-256 of a secret. Setting it vouches that all
	// of these secrets were generated, as ImportedKey.GeneratedSHA256 does.
	VouchForSHA256 bool

	// BatchSize is how many users with a key each are read before they are added, in one
	// transaction of the store: 1 to 100,000. Zero means 20,000. If users have more keys, a
	// batch has fewer users: it ends with twice BatchSize users and keys. SQLite has one writer
	// at a time, so sign-ins wait for a batch: a second with 20,000. The transaction must take
	// less than the store's own limit, such as sqlstore's Config.Timeout.
	BatchSize int

	// OnRejected is called with the number of each line whose user is not added, in order; the
	// first line is 1. The error says why: an [InvalidError] or an [ExistsError], without any
	// text of the line. OnProgress is called after each batch, after OnRejected for its lines.
	// A panic in either ends the import with an error.
	OnRejected func(line int, err error)
	OnProgress func(ImportProgress)
}

const (
	defaultImportBatch = 20_000
	maxImportBatch     = 100_000
	maxImportBytes     = 64 << 20  // after which a batch ends, too
	maxImportLine      = 128 << 10 // MaxKeys keys, of the longest, are some 70,000
)

// ImportProgress says how far an import has come.
type ImportProgress struct {
	Lines int   // lines read, empty ones included
	Bytes int64 // bytes read, to compare with the size of a file

	Added    int // users who were added
	Present  int // lines whose users were there already with all keys, perhaps from an earlier line
	Rejected int // lines whose users were not added
}

// ImportUsers adds users with the access keys that they have elsewhere, from a stream of JSON
// lines; docs/import.md describes a line. It needs AllowImported in the CredentialConfig, and a
// store that keeps users; with a [UserSource], use [CredentialVerifier.Import]. Each user is added
// with all keys or not at all. An import makes no super users and changes no existing user: a line
// that wants a name, an address or a key that is taken is rejected, and so is a line that cannot be
// read. The other lines are added.
//
// To continue after an interruption, call it again with the same lines from the first. A line
// whose username and keys all belong to one user, with the line's user_id if it has one, counts as
// Present. Nothing else of that line is compared or applied: an address or a hash that has changed
// in the lines since stays as it was added. Call it again as well for rejected lines that have been
// corrected. Concurrent imports, of any lines, add each user once.
//
// It returns how far it came, and an error if that is not to the end: when ctx is done, or the
// stream or the store fails. The last batch may or may not have been added then. It checks ctx
// between two reads of the stream, and cannot interrupt a read. It also returns the errors of
// [Authority.Check], which is done for each batch.
func (s *Service) ImportUsers(
	ctx context.Context, by Authority, lines io.Reader, options ImportOptions,
) (ImportProgress, error) {
	if err := s.tokens.checkAuthority(ctx, by); err != nil {
		return ImportProgress{}, err
	}
	switch {
	case s.users == nil:
		return ImportProgress{}, errHostUsers
	case s.credentials.slow == nil:
		return ImportProgress{}, errors.New("auth: ImportUsers needs AllowImported in Config.Credentials")
	case options.BatchSize < 0 || options.BatchSize > maxImportBatch:
		return ImportProgress{}, fmt.Errorf("auth: BatchSize must be 1 to %d", maxImportBatch)
	case options.BatchSize == 0:
		options.BatchSize = defaultImportBatch
	}
	i := &userImport{service: s, by: by, options: options,
		lines: bufio.NewReaderSize(lines, maxImportLine+len("\r\n"))}
	err := i.run(ctx)
	return i.progress, err
}

// userImport is an import under way.
type userImport struct {
	service  *Service
	by       Authority
	options  ImportOptions
	lines    *bufio.Reader
	progress ImportProgress
	read     ImportProgress // with the Lines and Bytes of the batch at work
}

// importedLine is a line, of which something is to be said in its turn.
type importedLine struct {
	number  int
	user    importedUser
	present bool
	err     error // why it is refused
}

func (i *userImport) run(ctx context.Context) error {
	for more := true; more; {
		batch, err := i.readBatch(ctx)
		more = err != io.EOF // itself: one that is wrapped tells of a stream that was cut off
		if more && err != nil {
			return err
		}
		if err := i.add(ctx, batch); err != nil {
			return err
		}
		if err := i.report(batch); err != nil {
			return err
		}
	}
	return nil
}

// readBatch reads the next lines. It returns io.EOF with the last of them.
func (i *userImport) readBatch(ctx context.Context) (batch []importedLine, err error) {
	began, records := i.read.Bytes, 0
	for err == nil && records < 2*i.options.BatchSize && i.read.Bytes-began < maxImportBytes {
		line := importedLine{number: i.read.Lines + 1}
		var text []byte
		var tooLong bool
		if text, tooLong, err = i.readLine(ctx); err != nil && err != io.EOF {
			return nil, fmt.Errorf("auth: reading line %d of an import: %w", line.number, err)
		}
		switch {
		case tooLong:
			line.err = invalidf("line", "must be at most %d bytes long", maxImportLine)
		case len(text) == 0:
			continue
		default:
			line.user, line.err = i.service.importedUser(ctx, text, i.options.VouchForSHA256)
		}
		batch = append(batch, line)
		records += 1 + max(1, len(line.user.Keys)) // one that is refused counts like one with a key
	}
	return batch, err
}

// readLine returns the next line without its end, and io.EOF with the last. Of a line
// that is too long, it keeps nothing. The line is good until the next call.
func (i *userImport) readLine(ctx context.Context) (text []byte, tooLong bool, err error) {
	length := 0
	for err = bufio.ErrBufferFull; err == bufio.ErrBufferFull; length += len(text) {
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		tooLong = length > 0
		text, err = i.lines.ReadSlice('\n')
	}
	i.read.Bytes += int64(length)
	if length > 0 {
		i.read.Lines++
	}
	text = bytes.Trim(text, " \t\r\n") // white space of JSON
	return text, tooLong || len(text) > maxImportLine, err
}

// add adds the users of the lines that are not refused yet.
func (i *userImport) add(ctx context.Context, batch []importedLine) error {
	var users []UserWithKeys
	var of []*importedLine
	for at := range batch {
		if line := &batch[at]; line.err == nil {
			users, of = append(users, line.user.UserWithKeys), append(of, line)
		}
	}
	if len(users) == 0 {
		return nil
	}
	c := i.service.newChange(ctx, i.by, Event{
		Kind: EventUsersImported, Reason: fmt.Sprintf("lines %d to %d", batch[0].number, batch[len(batch)-1].number),
	})
	refusals, err := i.service.users.RegisterUsers(ctx, c.write, users)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("the store's own time was over, set a smaller BatchSize: %w", err)
	}
	if err != nil {
		return fmt.Errorf("auth: adding the users of lines %d to %d of an import: %w", batch[0].number,
			batch[len(batch)-1].number, err)
	}
	if len(refusals) != len(users) {
		return fmt.Errorf("auth: the store answers for %d of %d users to register: see storetest",
			len(refusals), len(users))
	}
	added := false
	for at, refusal := range refusals {
		if refusal == nil {
			added = true
		} else {
			err = cmp.Or(err, of[at].refuse(refusal))
		}
	}
	if added {
		c.done(ctx)
	}
	return err
}

// refuse notes what the store says of the user, without what it has put around it.
func (l *importedLine) refuse(err error) error {
	exists, ok := errors.AsType[*ExistsError](err)
	if !ok {
		return fmt.Errorf("auth: the store refuses the user of line %d of an import with no "+
			"ExistsError: see storetest: %w", l.number, err)
	}
	l.err = exists
	l.present = exists.SameUserID != "" && (!l.user.hasID || exists.SameUserID == l.user.User.ID)
	return nil
}

// report counts what came of the lines, and says so.
func (i *userImport) report(batch []importedLine) (err error) {
	if i.read.Bytes == i.progress.Bytes {
		return nil // the stream ended with the batch before
	}
	i.progress.Lines, i.progress.Bytes = i.read.Lines, i.read.Bytes
	var rejected []importedLine
	for _, line := range batch {
		switch {
		case line.err == nil:
			i.progress.Added++
		case line.present:
			i.progress.Present++
		default:
			i.progress.Rejected++
			rejected = append(rejected, line)
		}
	}
	defer callback.Recover("a function of ImportOptions", func(failure error) { err = failure })
	if i.options.OnRejected != nil {
		for _, line := range rejected {
			i.options.OnRejected(line.number, line.err)
		}
	}
	if i.options.OnProgress != nil {
		i.options.OnProgress(i.progress)
	}
	return nil
}
