package githubtest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// endless is the size, in bytes, of a response that seems to have no end.
	endless = 1 << 30

	// dripInterval is the time between two bytes of slowDrip. It is so short that the connection
	// never looks idle to a client.
	dripInterval = 20 * time.Millisecond
)

// connectionFaults returns the faults in which the response is incomplete, never arrives, or is far
// too large.
func connectionFaults() []NamedFault {
	return []NamedFault{
		named("time-out", TimeOut),
		named("time-out after the headers", instead(timeOutAfterHeaders)),
		named("connection reset before the headers", Reset),
		named("connection reset after the headers", instead(resetAfterHeaders)),
		named("connection closed before the headers", instead(closeBeforeHeaders)),
		named("connection closed in the body", instead(closeInBody)),
		named("slow drip", instead(slowDrip)),
		named("not HTTP", instead(notHTTP)),
		named("endless headers", instead(endlessHeaders)),
		named("endless body", instead(endlessBody)),
		named("gzip bomb", instead(gzipBomb)),
		named("gzip that is none", instead(notGzip)),
	}
}

// TimeOut is a [Fault] that never responds. The request ends when the client disconnects or the
// server is closed.
func TimeOut(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// Reset is a [Fault] that resets the connection instead of responding.
func Reset(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		raw(w, "", true)
	})
}

func timeOutAfterHeaders(w http.ResponseWriter, r *http.Request) {
	beginJSON(w)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

func resetAfterHeaders(w http.ResponseWriter, _ *http.Request) {
	raw(w,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 4096\r\n\r\n",
		true)
}

func closeBeforeHeaders(w http.ResponseWriter, _ *http.Request) {
	raw(w, "", false)
}

func closeInBody(w http.ResponseWriter, _ *http.Request) {
	raw(w,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: "+
			"4096\r\n\r\n{\"login\":", false)
}

func notHTTP(w http.ResponseWriter, _ *http.Request) {
	raw(w, "220 mail.example.com ESMTP\r\n", false)
}

// slowDrip sends spaces, one byte at a time. White space may precede any JSON, so the response
// could still become valid.
func slowDrip(w http.ResponseWriter, r *http.Request) {
	beginJSON(w)
	ticker := time.NewTicker(dripInterval)
	defer ticker.Stop()
	for {
		select {
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-ticker.C:
			send(w, []byte(" "))
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func endlessHeaders(w http.ResponseWriter, _ *http.Request) {
	conn := hijack(w)
	defer conn.Close()
	_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
	line := "X-Endless: " + strings.Repeat("a", 32<<10) + "\r\n"
	for sent := 0; err == nil && sent < endless; sent += len(line) {
		_, err = io.WriteString(conn, line)
	}
}

func endlessBody(w http.ResponseWriter, _ *http.Request) {
	beginJSON(w)
	send(w, []byte(`{"login":"`))
	chunk := bytes.Repeat([]byte("a"), 64<<10)
	for sent := 0; sent < endless; sent += len(chunk) {
		send(w, chunk)
	}
	panic(http.ErrAbortHandler)
}

// gzipBomb sends a gigabyte of spaces, compressed to about a megabyte. It compresses one megabyte
// and sends the result 1024 times: a sequence of gzip streams is valid gzip.
func gzipBomb(w http.ResponseWriter, _ *http.Request) {
	const piece = 1 << 20
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(bytes.Repeat([]byte(" "), piece)) // a buffer never fails
	_ = writer.Close()
	w.Header().Set("Content-Encoding", "gzip")
	beginJSON(w)
	for range endless / piece {
		send(w, packed.Bytes())
	}
}

func notGzip(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	beginJSON(w)
	send(w, []byte("this is not gzip"))
}

// beginJSON sends the headers of a successful response.
func beginJSON(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // a later write fails if the client has gone
}

// send writes a part of the body. It aborts the request if the client has disconnected.
func send(w http.ResponseWriter, part []byte) {
	if _, err := w.Write(part); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// raw writes the text to the connection and closes the connection. If the parameter reset is true,
// the client sees a reset instead of a normal end.
func raw(w http.ResponseWriter, bytes string, reset bool) {
	conn := hijack(w)
	defer conn.Close()
	_, _ = io.WriteString(conn, bytes)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0) // makes Close send a reset
	}
}

// hijack takes the connection over from net/http. If net/http does not allow this, hijack aborts
// the request.
func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}
