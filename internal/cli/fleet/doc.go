// Package fleet is `flux sandbox test`: it takes a repository as a fleet has it, gives it a cluster
// of its own in the sandbox, lets the real controllers apply it, and says what became of each object.
//
// Nothing leaves the machine but the fetches of sources that lie elsewhere: the repository itself is
// served by the sandbox's Git server in the place of the URL that its GitRepository names, by an
// admission policy, so that no file has to be changed. Encrypted values, Secrets that nobody made,
// addresses of load balancers and storage classes get stand-ins; alerts, image updates and remote
// clusters are suspended. Everything that was stood in for is told.
package fleet
