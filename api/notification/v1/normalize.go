package v1

// Normalize maps the fields of the beta versions to those of today.
func (o *Receiver) Normalize() {
	if o.Status.WebhookPath == "" {
		o.Status.WebhookPath = o.Status.URL
	}
	o.Status.URL = ""
}
