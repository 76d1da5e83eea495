package v1

// Condition types of the sources, beside the common ones.
const (
	FetchFailedCondition            = "FetchFailed"
	StorageOperationFailedCondition = "StorageOperationFailed"
	ArtifactOutdatedCondition       = "ArtifactOutdated"
	ArtifactInStorageCondition      = "ArtifactInStorage"
	IncludeUnavailableCondition     = "IncludeUnavailable"
	SourceVerifiedCondition         = "SourceVerified"
	BuildFailedCondition            = "BuildFailed"
)

// Providers of identity.
const (
	GenericProvider = "generic"
	AWSProvider     = "aws"
	AzureProvider   = "azure"
	GCPProvider     = "gcp"
	GitHubProvider  = "github"
	LDAPProvider    = "ldap"
)

// Condition reasons that the sources share.
const (
	URLInvalidReason                   = "URLInvalid"
	AuthenticationFailedReason         = "AuthenticationFailed"
	VerificationErrorReason            = "VerificationError"
	DirectoryCreationFailedReason      = "DirectoryCreationFailed"
	StatOperationFailedReason          = "StatOperationFailed"
	ReadOperationFailedReason          = "ReadOperationFailed"
	AcquireLockFailedReason            = "AcquireLockFailed"
	ArchiveOperationFailedReason       = "ArchiveOperationFailed"
	SymlinkUpdateFailedReason          = "SymlinkUpdateFailed"
	ArtifactUpToDateReason             = "ArtifactUpToDate"
	CacheOperationFailedReason         = "CacheOperationFailed"
	PatchOperationFailedReason         = "PatchOperationFailed"
	InvalidSTSConfigurationReason      = "InvalidSTSConfiguration"
	InvalidProviderConfigurationReason = "InvalidProviderConfiguration"
	GarbageCollectionFailedReason      = "GarbageCollectionFailed"
	SourceIgnoreErrorReason            = "SourceIgnoreError"
)

// Condition reasons of single kinds.
const (
	GitOperationSucceededReason           = "GitOperationSucceeded"
	GitOperationFailedReason              = "GitOperationFailed"
	EmptyGitRepositoryReason              = "EmptyGitRepository"
	InvalidGitObjectReason                = "InvalidGitObject"
	InvalidTagSignatureReason             = "InvalidTagSignature"
	InvalidCommitSignatureReason          = "InvalidCommitSignature"
	NewRevisionReason                     = "NewRevision"
	IncludeChangeReason                   = "IncludeChange"
	NoArtifactReason                      = "NoArtifact"
	IllegalPathReason                     = "IllegalPath"
	InvalidVerificationModeReason         = "InvalidVerificationMode"
	OCIArtifactPullFailedReason           = "OCIArtifactPullFailed"
	OCIArtifactLayerOperationFailedReason = "OCIArtifactLayerOperationFailed"
	BucketOperationSucceededReason        = "BucketOperationSucceeded"
	BucketOperationFailedReason           = "BucketOperationFailed"
	IndexationFailedReason                = "IndexationFailed"
	ChartPullSucceededReason              = "ChartPullSucceeded"
	ChartPackageSucceededReason           = "ChartPackageSucceeded"
	NewChartReason                        = "NewChart"
	NoSourceArtifactReason                = "NoSourceArtifact"
)
