// An agent made of the official Go SDK, version 1, for the tests to drive: the twin of ../python/peer.py.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"golang.ngrok.com/ngrok"
	"golang.ngrok.com/ngrok/config"
)

type endpoint struct {
	Proto    string     `json:"proto"`
	Upstream string     `json:"upstream"`
	Options  [][]string `json:"options"`
}

type ask struct {
	Server    string     `json:"server"`
	CA        string     `json:"ca"`
	Token     string     `json:"token"`
	Metadata  string     `json:"metadata"`
	Endpoints []endpoint `json:"endpoints"`
}

func tell(event string, fields map[string]any) {
	fields["event"] = event
	line, _ := json.Marshal(fields)
	fmt.Println(string(line))
}

func tunnel(e endpoint) (config.Tunnel, error) {
	var http []config.HTTPEndpointOption
	var tcp []config.TCPEndpointOption
	var tls []config.TLSEndpointOption
	var labels []config.LabeledTunnelOption
	for _, option := range e.Options {
		switch option[0] {
		case "domain":
			domain := config.WithDomain(option[1])
			http, tls = append(http, domain), append(tls, domain)
		case "scheme":
			http = append(http, config.WithScheme(config.Scheme(option[1])))
		case "basic_auth":
			http = append(http, config.WithBasicAuth(option[1], option[2]))
		case "request_header":
			http = append(http, config.WithRequestHeader(option[1], option[2]))
		case "remote_addr":
			tcp = append(tcp, config.WithRemoteAddr(option[1]))
		case "termination":
			tls = append(tls, config.WithTLSTermination(config.WithTLSTerminationKeyPair([]byte(option[1]), []byte(option[2]))))
		case "label":
			labels = append(labels, config.WithLabel(option[1], option[2]))
		default:
			return nil, fmt.Errorf("this program knows no option %q", option[0])
		}
	}
	switch e.Proto {
	case "http":
		return config.HTTPEndpoint(http...), nil
	case "tcp":
		return config.TCPEndpoint(tcp...), nil
	case "tls":
		return config.TLSEndpoint(tls...), nil
	case "labeled":
		return config.LabeledTunnel(labels...), nil
	}
	return nil, fmt.Errorf("this program knows no protocol %q", e.Proto)
}

func run() error {
	var want ask
	if err := json.Unmarshal([]byte(os.Args[1]), &want); err != nil {
		return err
	}
	pem, err := os.ReadFile(want.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)

	// This SDK tries a refused login again until its context ends: the first refusal is told by the handler.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var refusal error
	session, err := ngrok.Connect(ctx,
		ngrok.WithAuthtoken(want.Token), ngrok.WithServer(want.Server), ngrok.WithCA(pool), ngrok.WithMetadata(want.Metadata),
		ngrok.WithDisconnectHandler(func(_ context.Context, _ ngrok.Session, err error) {
			var coded ngrok.Error
			if errors.As(err, &coded) && coded.ErrorCode() != "" {
				refusal = err
				stop()
			}
		}),
		ngrok.WithHeartbeatHandler(func(_ context.Context, _ ngrok.Session, latency time.Duration) {
			tell("heartbeat", map[string]any{"ms": latency.Milliseconds()})
		}))
	if refusal != nil {
		return refusal
	}
	if err != nil {
		return err
	}
	tell("session", map[string]any{})
	for _, e := range want.Endpoints {
		cfg, err := tunnel(e)
		if err != nil {
			return err
		}
		upstream, err := url.Parse(e.Upstream)
		if err != nil {
			return err
		}
		forwarder, err := session.ListenAndForward(ctx, upstream, cfg)
		if err != nil {
			return err
		}
		tell("up", map[string]any{"url": forwarder.URL(), "id": forwarder.ID(), "labels": forwarder.Labels()})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	err = session.Close()
	tell("closed", map[string]any{})
	return err
}

func main() {
	if err := run(); err != nil {
		var coded ngrok.Error
		code := ""
		if errors.As(err, &coded) {
			code = coded.ErrorCode()
		}
		tell("refused", map[string]any{"text": err.Error(), "code": code})
		os.Exit(1)
	}
}
