package providers

import "context"

func init() { register(Type{Name: "zoom", New: newZoom}) }

type zoom struct {
	*Config
	url string
}

func newZoom(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	if q := u.Query(); !q.Has("format") {
		q.Set("format", "full")
		u.RawQuery = q.Encode()
	}
	return &zoom{Config: c, url: u.String()}, c.needToken()
}

type zoomText struct {
	Text string `json:"text"`
}

type zoomHead struct {
	Text    string   `json:"text"`
	SubHead zoomText `json:"sub_head"`
}

type zoomBlock struct {
	Type  string     `json:"type"`
	Text  string     `json:"text,omitempty"`
	Items []zoomItem `json:"items,omitempty"`
}

type zoomItem struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type zoomContent struct {
	Head zoomHead    `json:"head"`
	Body []zoomBlock `json:"body"`
}

func (z *zoom) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	content := zoomContent{
		Head: zoomHead{Text: dotted(e), SubHead: zoomText{e.Severity}},
		Body: []zoomBlock{{Type: "message", Text: e.Message}},
	}
	if fields := e.Fields(); len(fields) > 0 {
		block := zoomBlock{Type: "fields"}
		for _, f := range fields {
			block.Items = append(block.Items, zoomItem{f.Key, f.Value})
		}
		content.Body = append(content.Body, block)
	}
	_, err := z.postJSON(ctx, z.url, map[string]any{"content": content}, header("Authorization", z.Token))
	return err
}
