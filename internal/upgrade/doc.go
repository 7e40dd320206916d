// Package upgrade has a test of upgrades without an outage: instances of the last release and of this
// version run on one database at the same time. The test binary of this package is also the program of an
// instance, so each release brings its own program.
package upgrade
