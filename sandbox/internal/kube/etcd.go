package kube

import (
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

type etcdOptions struct {
	dataDir, client, peer, cert, key, ca string
}

func newEtcdCommand() *cobra.Command {
	var o etcdOptions
	cmd := &cobra.Command{
		Use: "etcd", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(*cobra.Command, []string) error { return o.run() },
	}
	cmd.Flags().StringVar(&o.dataDir, "data-dir", "", "where the data is kept")
	cmd.Flags().StringVar(&o.client, "client", "", "URL to serve clients on")
	cmd.Flags().StringVar(&o.peer, "peer", "", "URL to serve peers on")
	cmd.Flags().StringVar(&o.cert, "cert", "", "certificate file")
	cmd.Flags().StringVar(&o.key, "key", "", "key file")
	cmd.Flags().StringVar(&o.ca, "ca", "", "authority that signs the clients' certificates")
	return cmd
}

func (o *etcdOptions) run() error {
	config, err := o.config()
	if err != nil {
		return err
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer server.Close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-stop:
		return nil
	case err := <-server.Err():
		return err
	}
}

// config gives up durability over power loss: a sandbox is worth less than the
// wait for the disk.
func (o *etcdOptions) config() (*embed.Config, error) {
	client, err := url.Parse(o.client)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(o.peer)
	if err != nil {
		return nil, err
	}
	tls := transport.TLSInfo{CertFile: o.cert, KeyFile: o.key, TrustedCAFile: o.ca, ClientCertAuth: true}
	c := embed.NewConfig()
	c.Name = "sandbox"
	c.Dir = o.dataDir
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.ClientTLSInfo, c.PeerTLSInfo = tls, tls
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// A restart may come back on another peer port; alone, the member may.
	c.StrictReconfigCheck = false
	c.UnsafeNoFsync = true
	c.LogLevel = "warn"
	c.LogOutputs = []string{"stderr"}
	c.EnableGRPCGateway = false
	c.QuotaBackendBytes = 8 << 30
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = "0" // the API server compacts
	c.WarningApplyDuration = time.Second
	c.WarningUnaryRequestDuration = 2 * time.Second
	return c, nil
}
