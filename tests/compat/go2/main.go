// An agent made of the official Go SDK, version 2, for the tests to drive: the twin of ../python/peer.py.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.ngrok.com/ngrok/v2"
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

func options(e endpoint) ([]ngrok.EndpointOption, error) {
	var made []ngrok.EndpointOption
	for _, option := range e.Options {
		switch option[0] {
		case "url":
			made = append(made, ngrok.WithURL(option[1]))
		case "pooling":
			made = append(made, ngrok.WithPoolingEnabled(true))
		case "agent_termination":
			pair, err := tls.X509KeyPair([]byte(option[1]), []byte(option[2]))
			if err != nil {
				return nil, err
			}
			made = append(made, ngrok.WithAgentTLSTermination(&tls.Config{Certificates: []tls.Certificate{pair}}))
		default:
			return nil, fmt.Errorf("this program knows no option %q", option[0])
		}
	}
	return made, nil
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

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	// This SDK tries a refused login again until its context ends: the first refusal is told by the event.
	var refusal error
	agent, err := ngrok.NewAgent(
		ngrok.WithAuthtoken(want.Token), ngrok.WithAgentConnectURL(want.Server), ngrok.WithAgentConnectCAs(pool),
		ngrok.WithAgentMetadata(want.Metadata),
		ngrok.WithEventHandler(func(event ngrok.Event) {
			switch event := event.(type) {
			case *ngrok.EventAgentDisconnected:
				var coded ngrok.Error
				if errors.As(event.Error, &coded) && coded.Code() != "" {
					refusal = event.Error
					stop()
				}
			case *ngrok.EventAgentHeartbeatReceived:
				tell("heartbeat", map[string]any{"ms": event.Latency.Milliseconds()})
			}
		}))
	if err != nil {
		return err
	}
	if err := agent.Connect(ctx); err != nil {
		if refusal != nil {
			return refusal
		}
		return err
	}
	tell("session", map[string]any{})
	for _, e := range want.Endpoints {
		asked, err := options(e)
		if err != nil {
			return err
		}
		forwarder, err := agent.Forward(ctx, ngrok.WithUpstream(e.Upstream), asked...)
		if err != nil {
			return err
		}
		tell("up", map[string]any{"url": forwarder.URL().String(), "id": forwarder.ID(), "labels": map[string]string{}})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	err = agent.Disconnect()
	tell("closed", map[string]any{})
	return err
}

func main() {
	if err := run(); err != nil {
		var coded ngrok.Error
		code := ""
		if errors.As(err, &coded) {
			code = coded.Code()
		}
		tell("refused", map[string]any{"text": err.Error(), "code": code})
		os.Exit(1)
	}
}
