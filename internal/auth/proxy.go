package auth

import (
	"fmt"
	"net/url"
)

const (
	keyAddress, keyUsername, keyPassword = "address", "username", "password"
	// maxProxyAddress is the longest address of a proxy.
	maxProxyAddress = 2048
)

// ReadProxy reads a Secret that describes a proxy: address (http, https or socks5), and username and password.
func ReadProxy(secret string, data map[string][]byte) (*url.URL, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("invalid proxy secret '%s': %s", secret, fmt.Sprintf(format, args...))
	}
	address := string(data[keyAddress])
	switch {
	case address == "":
		return nil, bad("key '%s' is missing", keyAddress)
	case len(address) > maxProxyAddress:
		return nil, bad("key '%s' is longer than %d characters", keyAddress, maxProxyAddress)
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, bad("key '%s' is not a URL", keyAddress)
	}
	switch u.Scheme {
	case "http", "https", "socks5":
	default:
		return nil, bad("scheme '%s' is none of http, https, socks5", u.Scheme)
	}
	if user := string(data[keyUsername]); user != "" {
		u.User = url.UserPassword(user, string(data[keyPassword]))
	}
	return u, nil
}
