// Package certfile loads certificates and keys from files. It is apart from
// secretfile because what it links in takes a megabyte of memory, which the
// collector has no other use for.
package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/taniwha3/thugshells/shared/config"
	"github.com/taniwha3/thugshells/shared/hostfs"
)

// maxPEM bounds a file of certificates; the system's own list has some 200 KB.
const maxPEM = 1 << 20

// Authorities returns the certificates of remote.ca_file.
func Authorities(path string) (*x509.CertPool, error) {
	text, err := hostfs.ReadRegular(path, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("remote.ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("remote.ca_file: %s holds no certificate in PEM", path)
	}
	return pool, nil
}

// ClientPair returns the certificate of remote.client_cert with its key.
func ClientPair(certFile, keyFile string) (pair tls.Certificate, err error) {
	cert, err := hostfs.ReadRegular(certFile, maxPEM)
	if err != nil {
		return pair, fmt.Errorf("remote.client_cert: %w", err)
	}
	key, err := hostfs.ReadRegular(keyFile, maxPEM)
	if err != nil {
		return pair, fmt.Errorf("remote.client_key: %w", err)
	}
	if pair, err = tls.X509KeyPair(cert, key); err != nil {
		return pair, fmt.Errorf("remote.client_cert: %s with the key %s: %w", certFile, keyFile, err)
	}
	return pair, nil
}

// Load loads the files that the shipper will use, and returns what is wrong with
// them.
func Load(r config.Remote) (faults []error) {
	if r.CAFile != "" {
		if _, err := Authorities(r.CAFile); err != nil {
			faults = append(faults, err)
		}
	}
	if r.ClientCert != "" && r.ClientKey != "" {
		if _, err := ClientPair(r.ClientCert, r.ClientKey); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}
