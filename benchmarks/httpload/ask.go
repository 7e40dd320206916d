package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// result is what was measured at one server in one round.
type result struct {
	perSecond     float64
	p50, p90, p99 time.Duration
}

// ask sends requests to the server for the duration d, over all connections at the same time. Each
// connection waits for the response to a request before it sends the next request.
func ask(s *server, l load, d time.Duration) (result, error) {
	type outcome struct {
		times []time.Duration
		err   error
	}
	outcomes := make(chan outcome)
	began := time.Now()
	for i := range l.connections {
		go func() {
			times, err := askOver(s, i, began.Add(d))
			outcomes <- outcome{times, err}
		}()
	}
	var times []time.Duration
	var errs error
	for range l.connections {
		o := <-outcomes
		times, errs = append(times, o.times...), errors.Join(errs, o.err)
	}
	if errs != nil {
		return result{}, errs
	}
	took := time.Since(began)
	slices.Sort(times)
	return result{
		perSecond: float64(len(times)) / took.Seconds(),
		p50:       quantile(times, 0.50),
		p90:       quantile(times, 0.90),
		p99:       quantile(times, 0.99),
	}, nil
}

func quantile[T any](sorted []T, q float64) T {
	return sorted[int(q*float64(len(sorted)-1))]
}

// askOver sends requests over one connection until the given time. The parameter first is the index
// of the token in the first request.
//
// askOver does not use net/http, because the client shares the processor with the server. The less
// time the client needs, the more clearly a difference between two servers shows.
func askOver(s *server, first int, until time.Time) ([]time.Duration, error) {
	conn, err := net.DialTimeout("tcp", s.Address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(until.Add(5 * time.Second)); err != nil {
		return nil, err
	}
	requests := make([][]byte, len(s.Tokens))
	for i, token := range s.Tokens {
		requests[i] = fmt.Appendf(nil,
			"GET /reports HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nAuthorization: Bearer "+
				"%s\r\n\r\n",
			s.Address, token)
	}
	length, err := firstAnswer(conn, requests[0])
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	got := make([]byte, length)
	for i, began := first, time.Now(); ; i++ {
		if _, err := conn.Write(requests[i%len(requests)]); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, got); err != nil {
			return nil, err
		}
		if !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) || !bytes.HasSuffix(got, answer) {
			return nil, fmt.Errorf("the server said %q", got)
		}
		ended := time.Now()
		times = append(times, ended.Sub(began))
		if began = ended; began.After(until) {
			return times, nil
		}
	}
}

// firstAnswer sends the request, reads the complete response and returns its length. All responses
// have the same length, because they have the same headers and the date has a fixed length.
func firstAnswer(conn net.Conn, request []byte) (int, error) {
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	var all bytes.Buffer
	response, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &all)), nil)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return 0, err
	case response.StatusCode != http.StatusOK || !bytes.Equal(body, answer):
		return 0, fmt.Errorf("the server answered %s: %q", response.Status, body)
	}
	return all.Len(), nil
}
