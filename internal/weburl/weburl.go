// Package weburl tells whether other people could read what is sent to a URL.
package weburl

import (
	"net"
	"net/url"
)

// IsSecure reports whether nobody else can read what is sent to the URL. This is so if its scheme
// is https, or if its scheme is http and its host is loopback. Traffic to a loopback host does not
// leave the machine.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
