package providers

import (
	"bytes"
	htmltemplate "html/template"
	"net/url"
	"strings"
	"sync"
	texttemplate "text/template"
	"time"
)

// The bodies of a mail. They load nothing from anywhere and run nothing.
const (
	plainMail = `{{.Intro}}
{{range .Entries}}
* {{.Object}}{{if .Gone}} (was deleted){{else if .Recovered}} (works again){{end}}
  {{.Reason}}, {{when .At}}
{{indent .Message}}
{{- range .Fields}}
  {{.Key}}: {{.Value}}
{{- end}}
{{end}}
{{- if .Link}}
Revision: {{.Link}}
{{- else if ne .Revision "unknown"}}
Revision: {{.Revision}}
{{- end}}
{{- if .Summary}}
{{.Summary}}
{{- end}}

-- 
Sent by Flux for the Alert {{.Alert}}.
`
	richMail = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Subject}}</title></head>
<body style="margin:0;padding:24px;background:#f4f5f7;font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:15px;line-height:1.5;color:#1b1f24">
<div style="max-width:640px;margin:0 auto;background:#ffffff;border:1px solid #dfe2e6;border-radius:8px;overflow:hidden">
<div style="padding:16px 24px;color:#ffffff;background:{{if .Failure}}#b3261e{{else}}#1a6d3a{{end}}"><strong style="font-size:17px">{{.Subject}}</strong></div>
<div style="padding:8px 24px 24px">
<p style="margin:16px 0 8px">{{.Intro}}</p>
{{range .Entries}}<div style="margin:12px 0;padding:12px 16px;border-left:4px solid {{if .Failure}}#b3261e{{else}}#1a6d3a{{end}};background:#f8f9fa">
<div><strong>{{.Object}}</strong>{{if .Gone}} was deleted{{else if .Recovered}} works again{{end}}</div>
<div style="color:#57606a;font-size:13px">{{.Reason}}, {{when .At}}</div>
<pre style="margin:8px 0 0;white-space:pre-wrap;word-break:break-word;font-family:ui-monospace,SFMono-Regular,Consolas,monospace;font-size:13px">{{.Message}}</pre>
{{if .Fields}}<table style="margin-top:8px;border-collapse:collapse;font-size:13px">{{range .Fields}}<tr><td style="padding:2px 16px 2px 0;color:#57606a;vertical-align:top">{{.Key}}</td><td style="padding:2px 0;word-break:break-all">{{.Value}}</td></tr>{{end}}</table>{{end}}
</div>
{{end}}{{if .Link}}<p style="margin:16px 0 0"><a href="{{.Link}}" style="color:#0550ae">Show the revision {{.Revision}}</a></p>{{else if ne .Revision "unknown"}}<p style="margin:16px 0 0;word-break:break-all">Revision {{.Revision}}</p>{{end}}
{{if .Summary}}<p style="margin:16px 0 0">{{.Summary}}</p>{{end}}
</div>
<div style="padding:12px 24px;border-top:1px solid #dfe2e6;color:#57606a;font-size:13px">Sent by Flux for the Alert {{.Alert}}.</div>
</div></body></html>
`
)

var (
	functions = map[string]any{
		"when":   func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 MST") },
		"indent": func(s string) string { return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") },
	}
	// Parsed with the first mail, not at start.
	plainTemplate = sync.OnceValue(func() *texttemplate.Template {
		return texttemplate.Must(texttemplate.New("text").Funcs(functions).Parse(plainMail))
	})
	richTemplate = sync.OnceValue(func() *htmltemplate.Template {
		return htmltemplate.Must(htmltemplate.New("html").Funcs(functions).Parse(richMail))
	})
)

func (l *letter) bodies() (plain, rich string, err error) {
	var text, html bytes.Buffer
	if err := plainTemplate().Execute(&text, l); err != nil {
		return "", "", err
	}
	if err := richTemplate().Execute(&html, l); err != nil {
		return "", "", err
	}
	return text.String(), html.String(), nil
}

// safeLink lets only web pages be linked to, without a login in the address.
func safeLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return ""
	}
	u.User = nil
	return u.String()
}
