package providers

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// The HTML of a mail looks as meant in a real browser: a bar in the colour of the news, the text below
// it, nothing wider than the window.
func TestMailInBrowser(t *testing.T) {
	t.Parallel()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed: no screenshots of mails")
	}
	for severity, bar := range map[string]color.RGBA{
		event.SeverityError: {0xb3, 0x26, 0x1e, 0xff}, event.SeverityInfo: {0x1a, 0x6d, 0x3a, 0xff},
	} {
		t.Run(severity, func(t *testing.T) {
			picture := screenshot(t, browser, mailOf(t, severity))
			if got := picture.At(60, 30); !near(got, bar) {
				t.Errorf("the bar has the colour %v, want %v", got, bar)
			}
			if ink := darkPixels(picture, image.Rect(50, 90, 650, 500)); ink < 500 {
				t.Errorf("%d dark pixels where the text should be", ink)
			}
			if ink := darkPixels(picture, image.Rect(690, 0, 700, 600)); ink > 0 {
				t.Errorf("%d dark pixels at the right edge: the mail is wider than the window", ink)
			}
		})
	}
}

func mailOf(t *testing.T, severity string) string {
	t.Helper()
	a := &notificationv1.Alert{ObjectMeta: metav1.ObjectMeta{Namespace: "flux-system", Name: "mail"}}
	e := &event.Event{
		InvolvedObject: corev1.ObjectReference{APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo"},
		Severity:       severity, Reason: "ReconciliationSucceeded", Timestamp: metav1.Now(),
		Message:  "Deployment/apps/podinfo: container podinfo: image registry.example.com/a/very/long/name/that/does/not/end/soon/and/goes/on/for/a/while:1.2.3 cannot be pulled",
		Metadata: map[string]string{"revision": "main@sha1:0123456789012345678901234567890123456789", "summary": "production"},
	}
	l := NewMails().compose("uid", []*Notification{{Event: e, Alert: a}})
	_, html, err := l.bodies()
	if err != nil {
		t.Fatal(err)
	}
	return html
}

func screenshot(t *testing.T, browser, html string) image.Image {
	t.Helper()
	dir := t.TempDir()
	page, out := filepath.Join(dir, "mail.html"), filepath.Join(dir, "mail.png")
	if err := os.WriteFile(page, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
		"--force-device-scale-factor=1", "--user-data-dir="+filepath.Join(dir, "profile"), "--window-size=700,600", "--screenshot="+out, "file://"+page)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("chromium: %v\n%.2000s", err, text)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return picture
}

func near(c color.Color, want color.RGBA) bool {
	r, g, b, _ := c.RGBA()
	close := func(x uint32, y uint8) bool { d := int(x>>8) - int(y); return d > -12 && d < 12 }
	return close(r, want.R) && close(g, want.G) && close(b, want.B)
}

func darkPixels(picture image.Image, area image.Rectangle) (n int) {
	for y := area.Min.Y; y < area.Max.Y; y++ {
		for x := area.Min.X; x < area.Max.X; x++ {
			if r, g, b, _ := picture.At(x, y).RGBA(); r+g+b < 3*0x6000 {
				n++
			}
		}
	}
	return n
}
