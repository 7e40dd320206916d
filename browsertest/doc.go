// Package browsertest tests the quickstart in a browser, as a person uses it: the page, the cookies
// and the redirects. It is a separate module, so that importers of the library do not get its
// dependencies.
//
// The tests need Chromium. If AUTH_SCREENSHOTS names a directory, they save screenshots there.
// After a change of the quickstart, run the tests with -count=1: they build the quickstart
// themselves, so the test cache does not notice the change.
package browsertest
