package v2

// Conditions of a HelmRelease besides those of all kinds.
const (
	// ReleasedCondition tells whether the last install or upgrade succeeded.
	ReleasedCondition = "Released"
	// TestSuccessCondition tells whether the tests of the release succeeded.
	TestSuccessCondition = "TestSuccess"
	// RemediatedCondition tells whether a failure was remediated.
	RemediatedCondition = "Remediated"
	// DriftedCondition tells whether the objects of the release are as it says.
	DriftedCondition = "Drifted"
)
