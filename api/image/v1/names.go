package v1

// Reasons of the condition Ready, beside those that all kinds share.
const (
	ImageURLInvalidReason            = "ImageURLInvalid"
	AuthenticationFailedReason       = "AuthenticationFailed"
	ReadOperationFailedReason        = "ReadOperationFailed"
	FailureReason                    = "Failure"
	DependencyNotReadyReason         = "DependencyNotReady"
	InvalidPolicyReason              = "InvalidPolicy"
	IntervalNotConfiguredReason      = "IntervalNotConfigured"
	InvalidUpdateStrategyReason      = "InvalidUpdateStrategy"
	InvalidSourceConfigurationReason = "InvalidSourceConfiguration"
	SourceManagerFailedReason        = "SourceManagerFailed"
	GitOperationFailedReason         = "GitOperationFailed"
	UpdateFailedReason               = "UpdateFailed"
	InvalidPolicySelectorReason      = "InvalidPolicySelector"
)

// MarkersSkippedCondition is ours: it is present, as True, on an ImageUpdateAutomation while there are markers in its
// files that nothing can be written to, because they name a policy that does not exist or stand in a file that cannot
// be read.
const MarkersSkippedCondition = "MarkersSkipped"
