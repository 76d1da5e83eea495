package v2

import "github.com/gitops-toolkit/flux/api/meta"

// Install says how to install.
type Install struct {
	// Timeout of the action, spec.timeout when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Strategy for failures, RemediateOnFailure when absent.
	// +optional
	Strategy *InstallStrategy `json:"strategy,omitempty"`
	// Remediation of failures.
	// +optional
	Remediation *InstallRemediation `json:"remediation,omitempty"`
	// DisableTakeOwnership fails on objects that belong to nobody or to another release.
	// +optional
	DisableTakeOwnership bool `json:"disableTakeOwnership,omitempty"`
	// DisableWait does not wait until objects are ready.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`
	// DisableWaitForJobs does not wait until Jobs are complete.
	// +optional
	DisableWaitForJobs bool `json:"disableWaitForJobs,omitempty"`
	// DisableHooks does not run hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// DisableOpenAPIValidation does not validate manifests against the cluster's schemas.
	// +optional
	DisableOpenAPIValidation bool `json:"disableOpenAPIValidation,omitempty"`
	// DisableSchemaValidation does not validate values against the chart's schema.
	// +optional
	DisableSchemaValidation bool `json:"disableSchemaValidation,omitempty"`
	// Replace reuses the name of a release that was deleted with its history kept.
	// +optional
	Replace bool `json:"replace,omitempty"`
	// SkipCRDs does not install the chart's definitions.
	//
	// Superseded: see CRDs.
	// +optional
	SkipCRDs bool `json:"skipCRDs,omitempty"`
	// CRDs says what to do with the chart's definitions; Create when empty.
	// +optional
	// +kubebuilder:validation:Enum=Skip;Create;CreateReplace
	CRDs string `json:"crds,omitempty"`
	// CreateNamespace makes the target namespace if it does not exist.
	// +optional
	CreateNamespace bool `json:"createNamespace,omitempty"`
	// ServerSideApply applies objects on the server; true when absent.
	// +optional
	ServerSideApply *bool `json:"serverSideApply,omitempty"`
}

// InstallStrategy says what to do when an install fails.
//
// +kubebuilder:validation:XValidation:rule="!has(self.retryInterval) || self.name != 'RemediateOnFailure'",message=".retryInterval cannot be set when .name is 'RemediateOnFailure'"
type InstallStrategy struct {
	// Name of the strategy: RemediateOnFailure or RetryOnFailure.
	// +required
	// +kubebuilder:validation:Enum=RemediateOnFailure;RetryOnFailure
	Name string `json:"name"`
	// RetryInterval between retries, 5 minutes when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	RetryInterval *meta.Duration `json:"retryInterval,omitempty"`
}

// InstallRemediation uninstalls after a failed install and tries again.
type InstallRemediation struct {
	// Retries before giving up; negative means without end.
	// +optional
	Retries int `json:"retries,omitempty"`
	// IgnoreTestFailures passes over failing tests; spec.test.ignoreFailures when absent.
	// +optional
	IgnoreTestFailures *bool `json:"ignoreTestFailures,omitempty"`
	// RemediateLastFailure remediates also when no retry is left.
	// +optional
	RemediateLastFailure *bool `json:"remediateLastFailure,omitempty"`
}

// Upgrade says how to upgrade.
type Upgrade struct {
	// Timeout of the action, spec.timeout when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Strategy for failures, RemediateOnFailure when absent.
	// +optional
	Strategy *UpgradeStrategy `json:"strategy,omitempty"`
	// Remediation of failures.
	// +optional
	Remediation *UpgradeRemediation `json:"remediation,omitempty"`
	// DisableTakeOwnership fails on objects that belong to nobody or to another release.
	// +optional
	DisableTakeOwnership bool `json:"disableTakeOwnership,omitempty"`
	// DisableWait does not wait until objects are ready.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`
	// DisableWaitForJobs does not wait until Jobs are complete.
	// +optional
	DisableWaitForJobs bool `json:"disableWaitForJobs,omitempty"`
	// DisableHooks does not run hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// DisableOpenAPIValidation does not validate manifests against the cluster's schemas.
	// +optional
	DisableOpenAPIValidation bool `json:"disableOpenAPIValidation,omitempty"`
	// DisableSchemaValidation does not validate values against the chart's schema.
	// +optional
	DisableSchemaValidation bool `json:"disableSchemaValidation,omitempty"`
	// Force replaces objects that cannot be changed.
	// +optional
	Force bool `json:"force,omitempty"`
	// PreserveValues starts from the values of the last release instead of the chart's.
	// +optional
	PreserveValues bool `json:"preserveValues,omitempty"`
	// CleanupOnFail deletes new objects when the upgrade fails.
	// +optional
	CleanupOnFail bool `json:"cleanupOnFail,omitempty"`
	// CRDs says what to do with the chart's definitions; Create when empty.
	// +optional
	// +kubebuilder:validation:Enum=Skip;Create;CreateReplace
	CRDs string `json:"crds,omitempty"`
	// ServerSideApply applies objects on the server; auto (when empty) does as the last
	// release did.
	// +optional
	// +kubebuilder:validation:Enum=enabled;disabled;auto
	ServerSideApply string `json:"serverSideApply,omitempty"`
	// ChartNameChangeStrategy for a chart of another name: upgrade in place, or Reinstall
	// (when empty).
	// +optional
	// +kubebuilder:validation:Enum=InPlaceUpdate;Reinstall
	ChartNameChangeStrategy string `json:"chartNameChangeStrategy,omitempty"`
}

// UpgradeStrategy says what to do when an upgrade fails.
//
// +kubebuilder:validation:XValidation:rule="!has(self.retryInterval) || self.name == 'RetryOnFailure'",message=".retryInterval can only be set when .name is 'RetryOnFailure'"
type UpgradeStrategy struct {
	// Name of the strategy: RemediateOnFailure or RetryOnFailure.
	// +required
	// +kubebuilder:validation:Enum=RemediateOnFailure;RetryOnFailure
	Name string `json:"name"`
	// RetryInterval between retries, 5 minutes when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	RetryInterval *meta.Duration `json:"retryInterval,omitempty"`
}

// UpgradeRemediation undoes a failed upgrade and tries again.
type UpgradeRemediation struct {
	// Retries before giving up; negative means without end.
	// +optional
	Retries int `json:"retries,omitempty"`
	// IgnoreTestFailures passes over failing tests; spec.test.ignoreFailures when absent.
	// +optional
	IgnoreTestFailures *bool `json:"ignoreTestFailures,omitempty"`
	// RemediateLastFailure remediates also when no retry is left.
	// +optional
	RemediateLastFailure *bool `json:"remediateLastFailure,omitempty"`
	// Strategy by which it is undone, rollback when empty.
	// +optional
	// +kubebuilder:validation:Enum=rollback;uninstall
	Strategy string `json:"strategy,omitempty"`
}

// Test says how to test a release.
type Test struct {
	// Enable runs the chart's tests after an install or upgrade.
	// +optional
	Enable bool `json:"enable,omitempty"`
	// Timeout of the action, spec.timeout when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// IgnoreFailures passes over failing tests.
	// +optional
	IgnoreFailures bool `json:"ignoreFailures,omitempty"`
	// Filters pick the tests to run, all when absent.
	// +optional
	Filters *[]TestFilter `json:"filters,omitempty"`
}

// TestFilter picks a test by name.
type TestFilter struct {
	// Name of the test.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Exclude leaves the test out instead.
	// +optional
	Exclude bool `json:"exclude,omitempty"`
}

// Rollback says how to roll back.
type Rollback struct {
	// Timeout of the action, spec.timeout when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// DisableWait does not wait until objects are ready.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`
	// DisableWaitForJobs does not wait until Jobs are complete.
	// +optional
	DisableWaitForJobs bool `json:"disableWaitForJobs,omitempty"`
	// DisableHooks does not run hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// Recreate restarts pods.
	//
	// Superseded: without effect.
	// +optional
	Recreate bool `json:"recreate,omitempty"`
	// Force replaces objects that cannot be changed.
	// +optional
	Force bool `json:"force,omitempty"`
	// CleanupOnFail deletes new objects when the rollback fails.
	// +optional
	CleanupOnFail bool `json:"cleanupOnFail,omitempty"`
	// ServerSideApply applies objects on the server; auto (when empty) does as the release
	// did.
	// +optional
	// +kubebuilder:validation:Enum=enabled;disabled;auto
	ServerSideApply string `json:"serverSideApply,omitempty"`
}

// Uninstall says how to uninstall.
type Uninstall struct {
	// Timeout of the action, spec.timeout when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// DisableHooks does not run hooks.
	// +optional
	DisableHooks bool `json:"disableHooks,omitempty"`
	// KeepHistory keeps Helm's records.
	// +optional
	KeepHistory bool `json:"keepHistory,omitempty"`
	// DisableWait does not wait until objects are gone.
	// +optional
	DisableWait bool `json:"disableWait,omitempty"`
	// DeletionPropagation to objects that depend on the release's.
	// +optional
	// +kubebuilder:default=background
	// +kubebuilder:validation:Enum=background;foreground;orphan
	DeletionPropagation *string `json:"deletionPropagation,omitempty"`
}
