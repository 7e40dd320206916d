package auth

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// ImportOptions says how [Service.ImportUsers] works. The zero value is a good choice.
type ImportOptions struct {
	// VouchForSHA256 takes lines with a bare SHA-256 of a secret. Setting it vouches that
	// all of these secrets were generated, as ImportedKey.GeneratedSHA256 does.
	VouchForSHA256 bool

	// BatchSize is how many lines are read before their users are added, in one
	// transaction of the store: 1 to 100,000, and 20,000 unless set. SQLite has one writer
	// at a time, and sign-ins wait for it: a second, with 20,000. The whole transaction must
	// take less than what the store is given, such as sqlstore's Config.Timeout.
	BatchSize int

	// OnRefused is told of each line that is refused, in their order, and OnProgress of
	// each batch that has been dealt with, after its lines. A panic in one of them ends the
	// import with an error.
	OnRefused  func(RefusedLine)
	OnProgress func(ImportProgress)
}

const (
	defaultImportBatch = 20_000
	maxImportBatch     = 100_000
	maxImportBytes     = 64 << 20 // after which a batch ends, too
	maxImportLine      = 64 << 10 // of MaxKeys keys, of the longest
)

// RefusedLine is a line of an import whose user was not added.
type RefusedLine struct {
	Line int // the first has 1

	// Err says why: an [InvalidError] or an [ExistsError]. Nothing of the line is in it.
	Err error
}

// ImportProgress is how far an import is.
type ImportProgress struct {
	Lines int   // lines read, empty ones included
	Bytes int64 // bytes read, for a comparison with the size of a file

	Added   int // users who were added
	Present int // users who were there already, with all keys of the line
	Refused int
}

// ImportUsers adds users with the access keys that they have elsewhere, from a stream of
// JSON lines; docs/import.md says what is in one. It needs AllowImported in the
// CredentialConfig, and a store that keeps users: with Config.Users, keys come by
// [CredentialVerifier.Import]. Of each user, everything is added or nothing. It makes no super
// users and changes nobody who is there: a line that wants a name, an address or a key
// that is taken is refused, and so is one that cannot be read. The others are added.
//
// To go on after an interruption, of whatever kind, call it again with the same lines,
// from the first: those whose users have been added are counted as Present. The same
// call is for lines that were refused and have been mended. Run one import at a time, and
// add no users of its lines meanwhile: on PostgreSQL and MariaDB it may end with an error
// then, or refuse lines whose users are there. It harms nobody, and the next call goes on.
//
// It returns how far it came, and an error if that is not to the end: when ctx is done,
// or the stream or the store fails. The batch at work may have been added then or not.
// Reading waits for the stream, whatever ctx says.
func (s *Service) ImportUsers(ctx context.Context, lines io.Reader, options ImportOptions) (ImportProgress, error) {
	switch {
	case s.tokens.users != nil:
		return ImportProgress{}, errHostsUsers
	case s.credentials.slow == nil:
		return ImportProgress{}, errors.New("auth: ImportUsers needs AllowImported in Config.Credentials")
	case options.BatchSize < 0 || options.BatchSize > maxImportBatch:
		return ImportProgress{}, fmt.Errorf("auth: BatchSize must be 1 to %d", maxImportBatch)
	case options.BatchSize == 0:
		options.BatchSize = defaultImportBatch
	}
	i := &userImport{service: s, options: options, lines: bufio.NewReaderSize(lines, maxImportLine+len("\r\n"))}
	err := i.run(ctx)
	return i.progress, err
}

// userImport is an import under way.
type userImport struct {
	service  *Service
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
		more = !errors.Is(err, io.EOF)
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
	began := i.read.Bytes
	for err == nil && len(batch) < i.options.BatchSize && i.read.Bytes-began < maxImportBytes {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("auth: importing users: %w", err)
		}
		var text []byte
		var tooLong bool
		if text, tooLong, err = i.readLine(); err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("auth: reading line %d of an import: %w", i.read.Lines, err)
		}
		line := importedLine{number: i.read.Lines}
		switch {
		case tooLong:
			line.err = invalidf("line", "must be at most %d bytes long", maxImportLine)
		case len(text) == 0:
			continue
		default:
			line.user, line.err = i.service.importedUser(ctx, text, i.options.VouchForSHA256)
		}
		batch = append(batch, line)
	}
	return batch, err
}

// readLine returns the next line without its end, and io.EOF with the last. Of a line
// that is too long, it keeps nothing. The line is good until the next call.
func (i *userImport) readLine() (text []byte, tooLong bool, err error) {
	text, err = i.lines.ReadSlice('\n')
	length := len(text)
	for ; errors.Is(err, bufio.ErrBufferFull); length += len(text) {
		tooLong = true
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
	refusals, err := i.service.store.RegisterAll(ctx, users)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("the store's own time was over, set a smaller BatchSize: %w", err)
	}
	if err != nil {
		return fmt.Errorf("auth: adding the users of lines %d to %d of an import: %w", batch[0].number, batch[len(batch)-1].number, err)
	}
	if len(refusals) != len(users) {
		return fmt.Errorf("auth: the store answers for %d of %d users to register: see storetest", len(refusals), len(users))
	}
	added := 0
	for at, refusal := range refusals {
		if refusal == nil {
			added++
		} else {
			of[at].refuse(refusal)
		}
	}
	if added > 0 {
		i.service.events.emit(ctx, Event{Kind: EventUsersImported,
			Reason: fmt.Sprintf("%d of lines %d to %d", added, batch[0].number, batch[len(batch)-1].number)})
	}
	return nil
}

// refuse notes what the store says of the user, without what it has put around it.
func (l *importedLine) refuse(err error) {
	l.err = err
	if exists, ok := errors.AsType[*ExistsError](err); ok {
		l.err = exists
		l.present = exists.SameUserID != "" && (!l.user.hasID || exists.SameUserID == l.user.User.ID)
	}
}

// report counts what came of the lines, and says so.
func (i *userImport) report(batch []importedLine) (err error) {
	defer contain("a function of ImportOptions", func(failure error) { err = failure })
	counted := i.progress
	counted.Lines, counted.Bytes = i.read.Lines, i.read.Bytes
	for _, line := range batch {
		switch {
		case line.err == nil:
			counted.Added++
		case line.present:
			counted.Present++
		default:
			counted.Refused++
			if i.options.OnRefused != nil {
				i.options.OnRefused(RefusedLine{Line: line.number, Err: line.err})
			}
		}
	}
	i.progress = counted
	if i.options.OnProgress != nil {
		i.options.OnProgress(counted)
	}
	return nil
}
