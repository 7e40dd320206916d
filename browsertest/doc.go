// Package browsertest drives the quickstart in a browser, as a person would: the
// page, the cookies and the redirects are what no other client shows. It is a
// module of its own so that nobody who imports the library meets what it needs.
//
// It needs Chromium. AUTH_SCREENSHOTS names a directory to which it then also
// writes what the page looks like. It builds the quickstart, which go test does
// not see: after a change there, run it with -count=1.
package browsertest
