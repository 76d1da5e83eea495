package kinds

// Sources are the kinds of `get sources all`, in its order.
func Sources() []*Kind {
	return []*Kind{OCIRepository, Bucket, GitRepository, HelmRepository, HelmChart, ExternalArtifact}
}

// Images are the kinds of `get images all`, in its order.
func Images() []*Kind { return []*Kind{ImageRepository, ImagePolicy, ImageUpdateAutomation} }

// Everything is `get all`, in its order.
func Everything() []*Kind {
	all := append(Sources(), Images()...)
	return append(all, HelmRelease, Kustomization, Receiver, Provider, Alert)
}

// Counted are the kinds of `stats`, in its order.
func Counted() []*Kind {
	return []*Kind{
		GitRepository, OCIRepository, HelmRepository, HelmChart, Bucket, Kustomization, HelmRelease,
		Alert, Provider, Receiver, ImageUpdateAutomation, ImagePolicy, ImageRepository,
	}
}
