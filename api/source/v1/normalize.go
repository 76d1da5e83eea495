package v1

// Normalize maps the fields of the beta versions to those of today.
func (o *GitRepository) Normalize() {
	if v := o.Spec.Verification; v != nil && (v.Mode == "" || v.Mode == "head") {
		v.Mode = VerifyHEAD
	}
	o.Spec.GitImplementation = ""
	o.Spec.AccessFrom = nil
	o.Status.Artifact.Normalize()
	for _, a := range o.Status.IncludedArtifacts {
		a.Normalize()
	}
	o.Status.URL, o.Status.ContentConfigChecksum = "", ""
}

// Normalize maps the fields of the beta versions to those of today.
func (o *OCIRepository) Normalize() {
	o.Status.Artifact.Normalize()
	o.Status.ContentConfigChecksum = ""
}

// Normalize maps the fields of the beta versions to those of today.
func (o *HelmRepository) Normalize() {
	o.Status.Artifact.Normalize()
}

// Normalize maps the fields of the beta versions to those of today. The one values file of old
// is merged before the others.
func (o *HelmChart) Normalize() {
	if f := o.Spec.ValuesFile; f != "" {
		o.Spec.ValuesFiles = append([]string{f}, o.Spec.ValuesFiles...)
		o.Spec.ValuesFile = ""
	}
	o.Spec.AccessFrom = nil
	o.Status.Artifact.Normalize()
}

// Normalize maps the fields of the beta versions to those of today.
func (o *Bucket) Normalize() {
	o.Spec.AccessFrom = nil
	o.Status.Artifact.Normalize()
}
