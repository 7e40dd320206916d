package revocation_test

import (
	"errors"
	"testing"

	"github.com/sallyport-go/auth/internal/revocation"
	"github.com/stretchr/testify/require"
)

// entriesAt returns entries with these Positions.
func entriesAt(positions ...int64) (page []revocation.Entry) {
	for _, p := range positions {
		page = append(page, revocation.Entry{Position: p, UserID: "u", SessionID: "s"})
	}
	return page
}

// span returns entries with all Positions from the first argument to the second.
func span(from, to int64) (page []revocation.Entry) {
	for p := from; p <= to; p++ {
		page = append(page, entriesAt(p)...)
	}
	return page
}

// ofEverybody returns an entry that revokes the sessions of all users.
func ofEverybody(position, generation int64) []revocation.Entry {
	return []revocation.Entry{{Position: position, Generation: generation}}
}

// join returns the entries of all pages as one page.
func join(pages ...[]revocation.Entry) (all []revocation.Entry) {
	for _, page := range pages {
		all = append(all, page...)
	}
	return all
}

func TestAHoleInTheFeedIsAnError(t *testing.T) {
	t.Parallel()
	const kept = revocation.KeptEntries
	ofUser := []revocation.Entry{{Position: 6, UserID: "u", Generation: 6}}
	for name, test := range map[string]struct {
		cursor int64
		page   []revocation.Entry
		newest int64
		hole   bool
	}{
		"an empty feed":                     {0, nil, 0, false},
		"nothing new":                       {7, nil, 0, false},
		"from the beginning":                {0, span(1, 5), 0, false},
		"the next ones":                     {7, span(8, 12), 0, false},
		"the first is missing":              {0, span(2, 5), 0, true},
		"the next one is missing":           {7, span(9, 12), 0, true},
		"one in the middle is missing":      {7, entriesAt(8, 9, 11), 0, true},
		"two of the newest are missing":     {0, entriesAt(1, 4), 0, true},
		"pruned at the beginning":           {0, span(5, 4+kept), 0, false},
		"too many pruned at the beginning":  {0, span(6, 4+kept), 0, true},
		"pruned in the middle":              {0, join(span(1, 3), span(7, 6+kept)), 0, false},
		"too many pruned in the middle":     {0, join(span(1, 3), span(7, 5+kept)), 0, true},
		"pruned, as a later entry shows":    {0, entriesAt(1, 4), 3 + kept, false},
		"not pruned, as far as that is":     {0, entriesAt(1, 4), 2 + kept, true},
		"two holes, of which one is pruned": {0, join(entriesAt(2), span(4, kept), entriesAt(kept+2)), 0, true},
		"covered by an entry for all":       {0, join(entriesAt(1, 4), ofEverybody(5, 5)), 0, false},
		"before an entry for all":           {3, ofEverybody(900, 900), 0, false},
		"after an entry for all":            {0, join(ofEverybody(1, 1), entriesAt(3)), 0, true},
		"an entry for all that is too low":  {0, join(entriesAt(1, 4), ofEverybody(5, 2)), 0, true},
		"an entry for all, just enough":     {0, join(entriesAt(1, 4), ofEverybody(5, 3)), 0, false},
		"an entry for all that is too high": {0, join(ofEverybody(1, 9), entriesAt(5)), 0, true},
		"an entry for one user":             {3, join(entriesAt(5), ofUser), 0, true},
		"out of order":                      {0, entriesAt(1, 3, 2), 0, true},
		"twice":                             {0, entriesAt(1, 1), 0, true},
		"before the cursor":                 {7, entriesAt(7, 8), 0, true},
		"out of order, long ago":            {0, entriesAt(2, 1), 5 * kept, true},
	} {
		require.Equal(t, test.hole, revocation.FindHole(test.cursor, test.page, test.newest) != nil, name)
	}
}

func TestAHoleInAFullPageIsJudgedByTheEntriesAfterThePage(t *testing.T) {
	t.Parallel()
	errAway := errors.New("away")
	for name, test := range map[string]struct {
		page []revocation.Entry
		full bool
		feed int64 // the newest Position of the feed
		err  error
		want string
		asks int
	}{
		"no hole":               {span(1, 100), true, 5000, nil, "", 0},
		"pruned":                {entriesAt(1, 4), true, 3 + revocation.KeptEntries, nil, "", 1},
		"two pruned":            {entriesAt(1, 4, 6), true, 5 + revocation.KeptEntries, nil, "", 2},
		"missing":               {entriesAt(1, 4), true, 2 + revocation.KeptEntries, nil, "goes from position 1 to 4", 1},
		"missing after pruned":  {entriesAt(1, 4, 6), true, 4 + revocation.KeptEntries, nil, "goes from position 4 to 6", 2},
		"the last page":         {entriesAt(1, 4), false, 3 + revocation.KeptEntries, nil, "goes from position 1 to 4", 0},
		"out of order":          {entriesAt(3, 3), true, 9 * revocation.KeptEntries, nil, "goes from position 3 to 3", 2},
		"the store cannot tell": {entriesAt(1, 4), true, 0, errAway, "away", 1},
	} {
		asks := 0
		err := revocation.RequireContiguous(0, test.page, test.full,
			func(from int64, limit int) ([]revocation.Entry, error) {
				asks++
				require.Equal(t, 1, limit)
				if test.err != nil || from > test.feed {
					return nil, test.err
				}
				return entriesAt(from), nil
			})
		require.Equal(t, test.asks, asks, name)
		if test.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.want, name)
		_, hole := errors.AsType[*revocation.HoleError](err)
		require.Equal(t, test.err == nil, hole, name)
	}
}
