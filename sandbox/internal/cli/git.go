package cli

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

func newGit(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "git",
		Short: "Print the URLs of the Git server and a credential, or create a repository",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, current, err := o.running()
			if err != nil {
				return err
			}
			g := current.Git
			if g == nil {
				return errors.New("the sandbox has no Git server (is git installed?): see `flux sandbox logs supervisor`")
			}
			repositories, err := git.List(dir.Path("git"))
			if err != nil {
				return err
			}
			if repositories == nil {
				repositories = []string{} // JSON says [], not null.
			}
			text := fmt.Sprintf("http        %s\nhttps       %s (CA: %s)\nssh         %s (identity: %s, known hosts: %s)\nusername    %s\npassword    %s\nrepositories %s",
				g.HTTP, g.HTTPS, g.CAFile, g.SSH, g.Identity, g.KnownHosts, g.Username, g.Password, strings.Join(repositories, " "))
			return o.print(cmd.OutOrStdout(), struct {
				*gitView
				Repositories []string `json:"repositories"`
			}{(*gitView)(g), repositories}, text)
		},
	}
	cmd.AddCommand(newGitCreate(o))
	return cmd
}

// gitView gives the JSON of `git` the words of `status`.
type gitView struct {
	HTTP       string `json:"gitHTTP"`
	HTTPS      string `json:"gitHTTPS"`
	SSH        string `json:"gitSSH"`
	Username   string `json:"gitUsername"`
	Password   string `json:"gitPassword"`
	CAFile     string `json:"gitCAFile"`
	KnownHosts string `json:"gitKnownHostsFile"`
	Identity   string `json:"gitIdentityFile"`
}

// checkWebhook refuses what nobody could POST to.
func checkWebhook(hook string) error {
	u, err := url.Parse(hook)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsAny(hook, " \t\n") {
		return fmt.Errorf("--webhook %q is no address to POST to: write it as http://HOST[:PORT]/PATH", hook)
	}
	return nil
}

func newGitCreate(o *options) *cobra.Command {
	var branch, secret string
	var webhooks []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create an empty repository; print its URLs",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, current, err := o.running()
			if err != nil {
				return err
			}
			if current.Git == nil {
				return errors.New("the sandbox has no Git server (is git installed?): see `flux sandbox logs supervisor`")
			}
			for _, hook := range webhooks {
				if err := checkWebhook(hook); err != nil {
					return err
				}
			}
			repository, err := git.Create(dir.Path("git"), args[0], branch)
			if err != nil {
				return err
			}
			for _, hook := range webhooks {
				if err := repository.AddWebhook(hook, secret); err != nil {
					return err
				}
			}
			path := "/" + strings.TrimSuffix(args[0], ".git") + ".git"
			urls := map[string]string{
				"name": args[0], "branch": branch, "directory": repository.Dir,
				"http": current.Git.HTTP + path, "https": current.Git.HTTPS + path, "ssh": current.Git.SSH + path,
			}
			return o.print(cmd.OutOrStdout(), urls, urls["http"])
		},
	}
	cmd.Flags().StringVar(&branch, "branch", "main", "default branch")
	cmd.Flags().StringArrayVar(&webhooks, "webhook", nil, "URL that receives a POST in GitHub's form after every push (repeatable)")
	cmd.Flags().StringVar(&secret, "webhook-secret", "", "secret to sign what the webhooks receive with, as GitHub does")
	return cmd
}
