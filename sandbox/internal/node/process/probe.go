package process

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// impatience is how often a container that has never been ready is asked, where
// its probe would wait longer. People wait for this; nothing fails by it.
const impatience = 250 * time.Millisecond

// prober asks one container how it is.
type prober struct {
	host      string
	container *corev1.Container
}

// until asks until enough answers in a row are good (true) or bad (false). Only
// answers a full period apart count as bad.
func (p prober) until(ctx context.Context, probe *corev1.Probe) (good bool, cause error) {
	period, failures := seconds(probe.PeriodSeconds, 10), 0
	successes := int32(0)
	if !sleep(ctx, seconds(probe.InitialDelaySeconds, 0)) {
		return false, ctx.Err()
	}
	for last := time.Now(); ; {
		err := p.once(ctx, probe)
		switch {
		case err == nil:
			failures = 0
			if successes++; successes >= max(1, probe.SuccessThreshold) {
				return true, nil
			}
		default:
			successes = 0
			if time.Since(last) >= period || failures == 0 {
				failures, last = failures+1, time.Now()
			}
			if failures >= int(max(1, probe.FailureThreshold)) {
				return false, err
			}
		}
		if !sleep(ctx, min(period, impatience)) {
			return false, ctx.Err()
		}
	}
}

// watch reports every change between good and bad, from good or bad on, until
// ctx ends.
func (p prober) watch(ctx context.Context, probe *corev1.Probe, good bool, report func(good bool, cause error)) {
	streak := int32(0)
	wait := seconds(probe.PeriodSeconds, 10)
	first := !good
	if !sleep(ctx, seconds(probe.InitialDelaySeconds, 0)) {
		return
	}
	for {
		err := p.once(ctx, probe)
		if ctx.Err() != nil {
			return
		}
		if (err == nil) == good {
			streak = 0
		} else {
			streak++
			enough := max(1, probe.SuccessThreshold)
			if good {
				enough = max(1, probe.FailureThreshold)
			}
			if streak >= enough {
				good, streak = !good, 0
				first = false
				report(good, err)
			}
		}
		pause := wait
		if first {
			pause = min(wait, impatience)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// once asks once. What cannot be asked here, a command inside a container that
// is none, counts as good.
func (p prober) once(ctx context.Context, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return p.http(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		return p.tcp(ctx, probe.TCPSocket.Host, probe.TCPSocket.Port)
	case probe.GRPC != nil:
		return p.tcp(ctx, "", intstr.FromInt32(probe.GRPC.Port))
	}
	return nil
}

// probeClient connects to nothing but the address that it is given.
var probeClient = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		// As a kubelet: the certificate of a pod's own port is nobody's proof.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (p prober) http(ctx context.Context, get *corev1.HTTPGetAction) error {
	address, err := p.address(get.Host, get.Port)
	if err != nil {
		return err
	}
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	path := get.Path
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+path, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "kube-probe/sandbox")
	for _, header := range get.HTTPHeaders {
		if header.Name == "Host" {
			request.Host = header.Value
		}
		request.Header.Add(header.Name, header.Value)
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", response.StatusCode)
	}
	return nil
}

func (p prober) tcp(ctx context.Context, host string, port intstr.IntOrString) error {
	address, err := p.address(host, port)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p prober) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = p.host
	}
	number := int(port.IntVal)
	if port.Type == intstr.String {
		number = 0
		for _, named := range p.container.Ports {
			if named.Name == port.StrVal {
				number = int(named.ContainerPort)
			}
		}
		if number == 0 {
			return "", fmt.Errorf("container %q has no port named %q", p.container.Name, port.StrVal)
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}

func seconds(n, otherwise int32) time.Duration {
	if n <= 0 {
		n = otherwise
	}
	return time.Duration(n) * time.Second
}

// sleep waits and reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
