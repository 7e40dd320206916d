// Package weburl decides whether other people can read the traffic to a URL.
package weburl

import (
	"net"
	"net/url"
)

// IsSecure reports whether nobody else can read what is sent to the URL: whether its scheme is
// https, or http on a loopback host. Traffic to a loopback host does not leave the machine.
func IsSecure(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
