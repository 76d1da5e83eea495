package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/go-logr/logr"
)

// Log levels of logr's verbosity: info is 0, debug 1, trace 2.
var logLevels = map[string]slog.Level{"trace": -2, "debug": -1, "info": 0, "error": slog.LevelError}

// NewLogger writes lines with the keys that people's log queries know: level, ts, logger, msg,
// error and those of the object. Encoding is json or console; level trace, debug, info or error.
func NewLogger(w io.Writer, encoding, level string) (logr.Logger, error) {
	least, ok := logLevels[level]
	if !ok {
		return logr.Discard(), fmt.Errorf("--log-level=%s: want trace, debug, info or error", level)
	}
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: logAttr}
	switch encoding {
	case "json":
		return logr.FromSlogHandler(redacting{slog.NewJSONHandler(w, options)}), nil
	case "console":
		return logr.FromSlogHandler(redacting{slog.NewTextHandler(w, options)}), nil
	}
	return logr.Discard(), fmt.Errorf("--log-encoding=%s: want json or console", encoding)
}

// logAttr gives the attributes of slog and logr their names here.
func logAttr(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch {
	case a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime:
		return slog.String("ts", a.Value.Time().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	case a.Key == slog.LevelKey && a.Value.Kind() == slog.KindAny:
		if l, ok := a.Value.Any().(slog.Level); ok {
			return slog.String("level", levelName(l))
		}
	case a.Key == "logger":
		return slog.String("logger", strings.ReplaceAll(a.Value.String(), "/", "."))
	case a.Key == "err":
		a.Key = "error"
	}
	if err, ok := a.Value.Any().(error); ok {
		return slog.String(a.Key, redact(err.Error()))
	}
	if d, ok := a.Value.Any().(time.Duration); ok {
		return slog.String(a.Key, d.String())
	}
	return a
}

func levelName(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= 0:
		return "info"
	case l == -1:
		return "debug"
	default:
		return "trace"
	}
}

// redacting keeps passwords of URLs out of messages; logAttr does so for errors.
type redacting struct{ slog.Handler }

// Handle drops the passwords of URLs from the message, and lines that tell of nothing wrong.
func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	if givenUp(r) {
		return nil
	}
	r.Message = redact(r.Message)
	return h.Handler.Handle(ctx, r)
}

// givenUp recognises client-go's line about an answer that nobody waits for any more, as when the process stops: it
// writes it as an error.
func givenUp(r slog.Record) (yes bool) {
	if r.Level < slog.LevelError || r.Message != "Unexpected error when reading response body" {
		return false
	}
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		yes = ok && errors.Is(err, context.Canceled)
		return !yes
	})
	return yes
}

// WithAttrs keeps the wrapper.
func (h redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return redacting{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapper.
func (h redacting) WithGroup(name string) slog.Handler {
	return redacting{h.Handler.WithGroup(name)}
}
