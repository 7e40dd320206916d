package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const output = `goos: linux
BenchmarkGrowth/live=1/text-2            	100	   9 ns/op
BenchmarkGrowth/live=1/revoked=0-2       	100	  98.13 ns/op	       0 B/op	       0 allocs/op
BenchmarkGrowth/live=1/revoked=0-2       	100	 300 ns/op
BenchmarkGrowth/live=1/revoked=0-2       	100	  97 ns/op
BenchmarkGrowth/live=10000/revoked=0     	100	1234 ns/op
BenchmarkGrowth/live=1/revoked=1000000-2 	100	 101 ns/op	 199.8 B/revoked
BenchmarkScan/live=2x-2                  	  2	 999 ns/op
PASS
`

func TestReadTakesTheMedianOfTheRounds(t *testing.T) {
	lines, err := read(strings.NewReader(output))
	require.NoError(t, err)
	require.Equal(t, []line{
		{0, []point{{1, 98.13}, {10_000, 1234}}},
		{1_000_000, []point{{1, 101}}},
		{textAlone, []point{{1, 9}}},
	}, lines)
}

func TestThePictureIsXMLWithAllThatWasMeasured(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, plot(strings.NewReader(output), &out))
	for d := xml.NewDecoder(bytes.NewReader(out.Bytes())); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, text := range []string{"1,000,000 sessions were revoked", "10,000", "fetching the text",
		"1234 ns"} {
		require.Contains(t, out.String(), text)
	}
}

func TestNothingToDrawIsAnError(t *testing.T) {
	for _, text := range []string{"", "PASS\n", "BenchmarkGrowth/live=0/revoked=0-2 1 1 ns/op\n"} {
		require.Error(t, plot(strings.NewReader(text), io.Discard), text)
	}
}
