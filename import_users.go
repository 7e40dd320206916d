package auth

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sallyport-go/auth/eventkind"
	"github.com/sallyport-go/auth/internal/callback"
)

// ImportOptions are the options of [Service.ImportUsers]. The zero value is a good choice.
type ImportOptions struct {
	// VouchForSHA256 allows lines that contain the SHA-256 of a secret. A host that sets
	// VouchForSHA256 vouches that all these secrets were generated, as with
	// [ImportedKey.GeneratedSHA256].
	VouchForSHA256 bool

	// BatchSize determines how many users the store adds in one transaction. It is from 1 to
	// 100,000. Zero means 20,000. A batch ends when the number of its users plus the number of
	// their keys is 2 × BatchSize or more. If every user has one key, a batch has BatchSize users.
	//
	// The transaction must take less time than the store's own limit, such as Config.Timeout of
	// sqlstore. SQLite has one writer at a time, so sign-ins wait for the transaction. For a batch
	// of 20,000 users, they wait about one second.
	BatchSize int

	// OnRejected is called for each rejected line, in order. The first line has the number 1. The
	// error is an *[InvalidError] or an *[ExistsError] and contains no text of the line. If
	// OnRejected panics, the import ends with an error.
	OnRejected func(line int, err error)

	// OnProgress is called after each batch. OnRejected has then been called for every rejected
	// line of the batch. If OnProgress panics, the import ends with an error.
	OnProgress func(ImportProgress)
}

const (
	defaultImportBatch = 20_000
	maxImportBatch     = 100_000
	maxImportBytes     = 64 << 20  // a batch also ends when it has this many bytes
	maxImportLine      = 128 << 10 // MaxKeys keys of the greatest length take about 70,000 bytes

	byteOrderMark = "\ufeff" // some programs begin a UTF-8 file with it (RFC 8259, section 8.1)
)

// ImportProgress is the progress of an import.
type ImportProgress struct {
	Lines int   // lines read, including empty lines
	Bytes int64 // bytes read, to compare with the size of the file

	Added    int // users added
	Present  int // lines whose user exists with all keys, possibly from an earlier line
	Rejected int // lines that were rejected
}

// ImportUsers adds users from another system, each with the user's access keys. The lines argument
// is a stream of JSON lines with one user in each line: docs/import.md describes the format.
// ImportUsers returns the progress. The error is nil only if the import has reached the end of the
// stream.
//
// ImportUsers needs [CredentialConfig.AllowImported] and a store that keeps users. If the host has
// a [UserSource], use [CredentialVerifier.Import].
//
// Each user is added with all keys or not at all. A line is rejected if it is not valid, or if its
// user ID, username, e-mail address or one of its access keys is taken. The import continues after
// a rejected line. The import makes no super users and changes no existing user.
//
// To continue after an interruption, call ImportUsers again with the same lines, starting with the
// first. ImportUsers counts a line as Present if the username and all keys of the line already
// belong to one user: see [ImportProgress]. If the line has a user_id, the existing user must also
// have that ID. ImportUsers compares nothing else and does not change the existing user. For
// example, if you change the e-mail address or a hash in the line before the second call, the store
// keeps the earlier value. To add rejected lines, correct them and call ImportUsers again. If
// several imports run at the same time, even with the same lines, no user is added twice.
//
// If ctx is done, or if the stream or the store fails, the import ends with an error. The last batch may or
// may not have been added then. ImportUsers checks ctx between two reads of the stream, but cannot
// interrupt a read. It checks the authority for each batch, and returns the errors of an [Authority].
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
		lines: bufio.NewReaderSize(lines, len(byteOrderMark)+maxImportLine+len("\r\n"))}
	err := i.run(ctx)
	return i.progress, err
}

// userImport is the state of one import.
type userImport struct {
	service  *Service
	by       Authority
	options  ImportOptions
	lines    *bufio.Reader
	progress ImportProgress // counts complete batches only
	read     ImportProgress // Lines and Bytes also count the current batch
}

// importedLine is a line of the current batch and its result.
type importedLine struct {
	number  int
	user    importedUser
	present bool
	err     error // why the user was not added
}

func (i *userImport) run(ctx context.Context) error {
	for more := true; more; {
		batch, err := i.readBatch(ctx)
		more = err != io.EOF // not errors.Is: a wrapped io.EOF means that the stream was cut off
		if more && err != nil {
			return err
		}
		if err := i.addUsers(ctx, batch); err != nil {
			return err
		}
		if err := i.report(batch); err != nil {
			return err
		}
	}
	return nil
}

// readBatch reads the lines of the next batch. It returns io.EOF together with the last batch.
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
			if line.user.User.IsService {
				line.user.User.CreatedBy = i.by.UserID
			}
		}
		batch = append(batch, line)
		records += 1 + max(1, len(line.user.Keys)) // a rejected line counts as a user with one key
	}
	return batch, err
}

// readLine returns the next line without surrounding white space and without a byte order mark at
// its beginning. A file made from several files can have more than one. It returns io.EOF together
// with the last line. If a line is too long, readLine skips the rest of the line, so that the rest
// takes no memory. The text is valid until the next call.
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
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	text = bytes.Trim(text, " \t\r\n") // the white space of JSON (RFC 8259, section 2)
	return text, tooLong || len(text) > maxImportLine, err
}

// addUsers adds the users of the lines that have no error yet, and sets the results of these lines.
func (i *userImport) addUsers(ctx context.Context, batch []importedLine) error {
	var users []UserWithKeys
	var linesOf []*importedLine
	for at := range batch {
		if line := &batch[at]; line.err == nil {
			users, linesOf = append(users, line.user.UserWithKeys), append(linesOf, line)
		}
	}
	if len(users) == 0 {
		return nil
	}
	c := i.service.newChange(ctx, i.by, Event{
		Kind: eventkind.UsersImported, Reason: fmt.Sprintf("lines %d to %d", batch[0].number, batch[len(batch)-1].number),
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
			err = cmp.Or(err, linesOf[at].setRefusal(refusal))
		}
	}
	if added {
		c.recordEvent(ctx)
	}
	return err
}

// setRefusal sets the result of a line after the store has refused the line's user with the error
// err. The result contains only the [ExistsError] in err, because the rest of err may contain text
// of the line. If err contains no ExistsError, setRefusal returns an error.
func (l *importedLine) setRefusal(err error) error {
	exists, ok := errors.AsType[*ExistsError](err)
	if !ok {
		return fmt.Errorf("auth: the store refuses the user of line %d of an import with no "+
			"ExistsError: see storetest: %w", l.number, err)
	}
	l.err = exists
	l.present = exists.SameUserID != "" && (!l.user.hasID || exists.SameUserID == l.user.User.ID)
	return nil
}

// report adds the results of a batch to the progress, and calls OnRejected and OnProgress.
func (i *userImport) report(batch []importedLine) (err error) {
	if i.read.Bytes == i.progress.Bytes {
		return nil // the batch is empty, because the stream ended with the previous batch
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
