package controllers

import "testing"

func TestAdvertisedAddress(t *testing.T) {
	t.Setenv("HOSTNAME", "source-controller-0")
	tests := []struct{ reason, given, listen, want string }{
		{"what the operator says counts", "http://x/y", ":9090", "http://x/y"},
		{"no host means this one", "", ":9090", "localhost:9090"},
		{"all addresses means the pod", "", "0.0.0.0:9090", "source-controller-0:9090"},
		{"a host is advertised as it is", "", "10.0.0.1:80", "10.0.0.1:80"},
	}
	for _, tt := range tests {
		if got, err := advertisedAddress(tt.given, tt.listen); got != tt.want || err != nil {
			t.Errorf("%s: %q %v, want %q", tt.reason, got, err, tt.want)
		}
	}
	t.Setenv("HOSTNAME", "")
	if _, err := advertisedAddress("", "0.0.0.0:9090"); err == nil {
		t.Error("an address that nobody can use was advertised")
	}
}
