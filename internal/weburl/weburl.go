// Package weburl tells whether other people could read what is sent to a URL.
package weburl

import (
	"net"
	"net/url"
)

// IsSecure reports whether the data that is sent to the URL stays secret from other people. The
// scheme must be https, or it must be http and the host must be loopback. Traffic to a loopback
// host does not leave the machine.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
